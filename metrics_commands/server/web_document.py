"""A YAML file read strictly: each value knows its key and line, and no error shows a value."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

from ..errors import ExporterError, name_user
from ..finding import Place

if TYPE_CHECKING:
    import yaml

    Node = yaml.ScalarNode | yaml.SequenceNode | yaml.MappingNode

LARGEST_FILE = 1024 * 1024
MOST_DEPTH = 20
INSTALL = 'Run: pip install "django-runmetrics[secure]"'
TEXT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "timestamp")}
FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
COUNT = re.compile(r"0|[1-9][0-9]{0,8}")
# A key of any other shape may be a secret that stands in the wrong place.
HARMLESS_KEY = re.compile(r"[A-Za-z0-9_.@-]{1,40}")
# Of what a YAML parser says, quotations longer than one sign may be a secret; no name in a file can
# look like a token, such as <stream end>.
HARMLESS_PROBLEM = re.compile(r"([a-z ,-]|'\\?.'|'<[a-z ]+>'|<[a-z ]+>)*")
WRITE_YAML = "Indent with spaces, not tabs, and put values with signs such as : # { * into quotes."


def fail(place: Place, what: str, hint: str = "") -> NoReturn:
    """Refuse what is written at a place."""
    # What a parser says quotes the file, so no traceback shall show it.
    raise ExporterError(f"{place}: {what}.", hint, exit_code=2) from None


@dataclass(frozen=True)
class Entry:
    """One value of a document: its node, the file, and the keys that lead to it."""

    file: str
    key: str
    node: Node = field(repr=False)

    @property
    def place(self) -> Place:
        """Return the file and the line."""
        mark = self.node.start_mark
        return Place(self.file, mark.line + 1 if mark else 0)

    def refuse(self, what: str, hint: str = "") -> NoReturn:
        """Refuse this value."""
        fail(self.place, f"{self.key or 'the document'} {what}", hint)

    def as_text(self) -> str:
        """Return a text; as upstream, also a number as it is written."""
        value = self.node.value
        if self.node.id != "scalar" or self.node.tag not in TEXT_TAGS:
            self.refuse("must be a text")
        if not value:
            self.refuse("is empty")
        return str(value)

    def as_line(self) -> str:
        """Return a text of one line, without control characters."""
        text = self.as_text()
        if not text.isprintable():
            self.refuse("must be one line, without control characters")
        return text

    def as_flag(self) -> bool:
        """Return a truth value."""
        flag = FLAGS.get(str(self.node.value).lower())
        if self.node.tag != "tag:yaml.org,2002:bool" or flag is None:
            self.refuse("must be true or false")
        return flag

    def as_count(self) -> int:
        """Return a whole number that is not negative."""
        value = str(self.node.value)
        if self.node.tag != "tag:yaml.org,2002:int" or not COUNT.fullmatch(value):
            self.refuse("must be a whole number from 0 to 999999999")
        return int(value)

    def as_choice(self, choices: Collection[str]) -> str:
        """Return one of the texts that are allowed."""
        text = self.as_text()
        if text not in choices:
            self.refuse(f"must be {' or '.join(choices)}")
        return text

    def as_list(self) -> list[Entry]:
        """Return the items of a list."""
        if (self.node.id, self.node.tag) != ("sequence", "tag:yaml.org,2002:seq"):
            self.refuse("must be a list")
        return [
            Entry(self.file, f"{self.key}[{index}]", node)
            for index, node in enumerate(self.node.value)
        ]

    def as_mapping(self) -> dict[str, Entry]:
        """Return the values by key; each key is a text, and stands there once."""
        if (self.node.id, self.node.tag) != ("mapping", "tag:yaml.org,2002:map"):
            self.refuse("must be a mapping of keys to values")
        found: dict[str, Entry] = {}
        for key, value in self.node.value:
            name = Entry(self.file, f"a key of {self.key or 'the document'}", key).as_text()
            shown = name if HARMLESS_KEY.fullmatch(name) else "a key"
            path = f"{self.key}.{shown}" if self.key else shown
            if name in found:
                Entry(self.file, path, key).refuse("stands there twice")
            found[name] = Entry(self.file, path, value)
        return found

    def as_section(self, known: Collection[str]) -> dict[str, Entry]:
        """Return the values by key, and refuse a key that is not known."""
        found = self.as_mapping()
        for (key, _), (name, entry) in zip(self.node.value, found.items(), strict=True):
            if name not in known:
                hint = f"Known there: {', '.join(known)}."
                Entry(self.file, entry.key, key).refuse("is not known", hint)
        return found


def read_document(path: Path) -> Entry | None:
    """Return the root of a file's only document; None where it has none."""
    try:
        import yaml
    except ImportError:
        message = "A web configuration file needs PyYAML, which is not installed."
        raise ExporterError(message, INSTALL, exit_code=2) from None
    content = read_content(path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = content.decode()
        check_depth(path, text)
        root = cast("Node | None", yaml.compose(text, Loader=loader))
    except UnicodeDecodeError as error:
        fail(find_line(path, content, error.start), "this is not UTF-8")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or ""
        detail = f" ({problem})" if problem and HARMLESS_PROBLEM.fullmatch(problem) else ""
        place = Place(str(path), mark.line + 1 if mark else 0)
        fail(place, f"this is not YAML{detail}", WRITE_YAML)
    except yaml.reader.ReaderError as error:
        fail(find_line(path, content, error.position), "YAML does not allow this character")
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return None
    return Entry(str(path), "", root)


def find_line(path: Path, content: bytes, position: int) -> Place:
    """Return the place of a byte."""
    return Place(str(path), content.count(b"\n", 0, position) + 1)


def check_depth(path: Path, text: str) -> None:
    """Refuse what would exhaust the stack of a parser that builds trees by recursion."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH:
            mark = event.start_mark
            fail(Place(str(path), mark.line + 1 if mark else 0), "this is nested too deep")


def open_at_once(path: Path) -> BinaryIO:
    """Open a file without waiting, as for the writer of a pipe."""

    def open_descriptor(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)

    # A descriptor that is handed over would stay open where the path is a directory.
    return open(path, "rb", opener=open_descriptor)


def is_regular(opened: BinaryIO) -> bool:
    """Tell whether it is neither a pipe nor a device."""
    return stat.S_ISREG(os.fstat(opened.fileno()).st_mode)


def read_content(path: Path) -> bytes:
    """Return the bytes of a regular file of moderate size."""
    reason = ""
    content = b""
    try:
        with open_at_once(path) as opened:
            if is_regular(opened):
                content = opened.read(LARGEST_FILE + 1)
            else:
                reason = "it is not a regular file"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not valid"
    if len(content) > LARGEST_FILE:
        reason = f"it is larger than {LARGEST_FILE // 1024} KiB"
    if reason:
        message = f"The web configuration file {path} cannot be read: {reason}."
        hint = f"Name a file that is there, and that user {name_user()} may read."
        raise ExporterError(message, hint, exit_code=2)
    return content
