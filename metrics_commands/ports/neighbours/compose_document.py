"""A YAML document as a tree of nodes that know where they stand; no object is constructed.

Scalars stay as they are written, and an alias is the node itself: nothing can explode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ...finding import Place
from .file import UnreadableError
from .interpolation import LONGEST_VALUE, interpolate
from .line import Span, show
from .position import find_occurrences

if TYPE_CHECKING:
    import yaml

MOST_NODES = 20_000
MOST_ALIASES = 1_000
MOST_DEPTH = 60
MOST_STEPS = 100_000
LETTERS_PER_STEP = 8
LONGEST_LINE = 1_000
QUOTED = re.compile(r"'.*'|\".*\"", re.DOTALL)
# The line ends of YAML 1.1, which are not those of str.splitlines.
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass
class Budget:
    """Bound the work that files can ask for by referring to the same things again and again."""

    left: int = MOST_STEPS

    def spend(self, steps: int) -> None:
        """Take steps off what is left, or raise UnreadableError."""
        self.left -= steps
        if self.left < 0:
            raise UnreadableError("it is too large")


@dataclass(eq=False)
class Source:
    """One file: its name for a person, its lines, and what its variables mean."""

    file: str
    lines: list[str]
    variables: Mapping[str, str]
    budget: Budget

    def interpolate(self, text: str) -> str:
        """Return a text with its variables replaced; as it is, where compose would refuse it."""
        try:
            return interpolate(text, self.variables)
        except ValueError:
            return text


@dataclass(eq=False)
class Node:
    """A value and where it is written; the children of a mapping are keys and values in turn."""

    source: Source
    kind: Literal["scalar", "sequence", "mapping"]
    line: int
    column: int
    end_line: int
    end_column: int
    tag: str = ""
    written: str = ""
    plain: bool = False
    children: list[Node] = field(default_factory=list)

    @property
    def place(self) -> Place:
        """Return file and line."""
        return Place(self.source.file, self.line)

    @property
    def raw(self) -> str:
        """Return a scalar as the file has it, with its quotes; '' where it takes several lines."""
        lines = self.source.lines[self.line - 1 : self.line]
        one = lines and self.end_line == self.line
        return lines[0][self.column : self.end_column] if one else ""

    @property
    def text(self) -> str:
        """Return the line where it stands, as it may be shown."""
        return show(self.line_with("") or self.written.strip()[:LONGEST_LINE])[0]

    @property
    def is_null(self) -> bool:
        """Tell whether nothing is written here."""
        return self.plain and self.written in ("", "~", "null", "Null", "NULL")

    def line_with(self, scalar: str) -> str:
        """Return its line with another scalar in its place, '' where it has no line of its own."""
        lines = self.source.lines[self.line - 1 : self.line]
        if not lines or len(lines[0]) > LONGEST_LINE or (scalar and self.end_line != self.line):
            return ""
        line = lines[0]
        if scalar:
            line = line[: self.column] + scalar + line[self.end_column :]
        return line.strip()

    def find_column(self, column: int) -> int:
        """Return where a column of its first line is without that line's margin."""
        line = self.source.lines[self.line - 1]
        return column - len(line) + len(line.lstrip())

    def find_part(self, written: str, count: int, label: str) -> tuple[Place, str, Span]:
        """Return place, line and span of one of the equal parts of a scalar in the file.

        ``label`` is the name of the service. Where the file writes the scalar otherwise than it
        reads, that is its own first line.
        """
        lines = self.source.lines[self.line - 1 : self.end_line]
        self.source.budget.spend(len(lines))
        found: list[tuple[int, re.Match[str]]] = []
        for number, line in enumerate(lines, self.line):
            first = self.column if number == self.line else 0
            last = self.end_column if number == self.end_line and self.end_column else len(line)
            matches = find_occurrences(line[:last], written) if len(line) <= LONGEST_LINE else ()
            found += [(number, each) for each in matches if each.start() >= first]
        expected = len(list(find_occurrences(self.written, written)))
        if len(found) != expected or count >= expected:
            return self.place, self.text, None
        number, match = found[count]
        line = self.source.lines[number - 1]
        margin = len(line) - len(line.lstrip())
        span = match.start() - margin, match.end() - margin
        text, shown = show(line.strip(), span, label)
        return Place(self.source.file, number), text, shown

    def read(self) -> str:
        """Return a scalar's text, its variables replaced; '' for anything else."""
        if self.kind != "scalar" or self.is_null:
            return ""
        value = self.source.interpolate(self.written)
        self.source.budget.spend(1 + len(value) // LETTERS_PER_STEP)
        if len(value) > LONGEST_VALUE:
            raise UnreadableError(f"the value in line {self.line} is too long")
        return value

    def items(self) -> list[Node]:
        """Return the items of a sequence; a scalar is its own only item."""
        found = self.children if self.kind == "sequence" else [self] * (self.kind == "scalar")
        self.source.budget.spend(len(found))
        return [each for each in found if not each.is_null]

    def entries(self) -> dict[str, Node]:
        """Return a mapping's values by key, with what ``<<`` merges; {} for anything else."""
        found: dict[str, Node] = {}
        pending, seen = [self], set()
        while pending:
            node = pending.pop()
            if node in seen or node.kind != "mapping":
                continue
            seen.add(node)
            self.source.budget.spend(1 + len(node.children))
            own: dict[str, Node] = {}
            merged: list[Node] = []
            for key, value in zip(node.children[::2], node.children[1::2], strict=False):
                if key.plain and key.written == "<<":
                    merged += value.children if value.kind == "sequence" else [value]
                elif key.kind == "scalar":
                    own[key.written] = value
            for name, value in own.items():
                found.setdefault(name, value)
            pending += reversed(merged)
        return found


def parse(text: str, source: Source) -> list[Node]:
    """Return the root of each document, or raise UnreadableError; needs PyYAML."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _build(yaml.parse(text, Loader=loader), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark else ""
        # The parser quotes what it does not understand, which may be a password.
        problem = QUOTED.sub("…", error.problem or error.context or "")
        raise UnreadableError(f"{where}{problem}") from None
    except (yaml.YAMLError, ValueError):
        raise UnreadableError("it holds characters that YAML does not allow") from None


def _build(events: Iterable[object], source: Source) -> list[Node]:
    """Build the trees from the parser's events, without recursion."""
    import yaml

    roots: list[Node] = []
    opened: list[Node] = []
    anchors: dict[str, Node] = {}
    nodes = aliases = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            anchors = {}
        elif isinstance(event, yaml.CollectionEndEvent):
            _close(opened.pop(), event)
        if not isinstance(event, yaml.NodeEvent):
            continue
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if event.anchor not in anchors:
                raise UnreadableError(f"line {_find_line(event)}: an alias has no anchor")
            node = anchors[event.anchor]
        else:
            nodes += 1
            node = _make_node(event, source)
            if event.anchor:
                anchors[event.anchor] = node
        (opened[-1].children if opened else roots).append(node)
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(node)
        if nodes > MOST_NODES or aliases > MOST_ALIASES:
            raise UnreadableError("it is too large")
        if len(opened) > MOST_DEPTH:
            raise UnreadableError("it is too deep")
    return roots


def _find_line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _close(node: Node, event: yaml.CollectionEndEvent) -> None:
    """Tell a mapping or sequence where it ends: a bracket is in its last line, a dedent after."""
    start, end = event.start_mark, event.end_mark
    if start and end:
        node.end_line = end.line + (start.column != end.column)


def _make_node(event: yaml.NodeEvent, source: Source) -> Node:
    import yaml

    start, end = event.start_mark, event.end_mark
    if start is None or end is None:
        raise UnreadableError("its parser tells no lines")
    place = (start.line + 1, start.column, end.line + (end.column > 0), end.column)
    if isinstance(event, yaml.ScalarEvent):
        plain = bool(event.implicit[0])
        return Node(source, "scalar", *place, event.tag or "", event.value, plain)
    kind: Literal["sequence", "mapping"] = (
        "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
    )
    return Node(source, kind, *place, getattr(event, "tag", None) or "")
