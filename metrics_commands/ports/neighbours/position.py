"""Where a port stands in what was written: whoever writes another there moves that port alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from .neighbour import Survey

MOST_TRIES = 8
# Numbers to try with; none of them is ever shown.
TRIALS = range(61001, 65000)


@dataclass(frozen=True)
class Position:
    """A part of one of several texts; ``count`` tells how many equal parts stand before it."""

    index: int
    start: int
    end: int
    count: int


def locate(
    texts: Sequence[str], written: str, moves: Callable[[Sequence[str], str], bool]
) -> Position | None:
    """Return where the port is written, or None.

    ``moves`` is asked whether other texts move this port, and nothing else, to the one given.
    """
    tries = islice(_list_occurrences(texts, written), MOST_TRIES)
    other = _choose_other(texts, written)
    for each in tries:
        text = texts[each.index]
        changed = text[: each.start] + other + text[each.end :]
        if moves([*texts[: each.index], changed, *texts[each.index + 1 :]], other):
            return each
    return None


def find_occurrences(text: str, written: str) -> Iterator[re.Match[str]]:
    """Yield where a number stands that is no part of a longer one."""
    return re.finditer(rf"(?<![0-9]){re.escape(written)}(?![0-9])", text)


def _list_occurrences(texts: Sequence[str], written: str) -> Iterator[Position]:
    for index, text in enumerate(texts):
        for count, found in enumerate(find_occurrences(text, written)):
            yield Position(index, found.start(), found.end(), count)


def _choose_other(texts: Sequence[str], written: str) -> str:
    first, dash, last = written.partition("-")
    size = int(last) - int(first) if dash and last.isdigit() and first.isdigit() else 0
    unused = (each for each in TRIALS if not any(str(each) in text for text in texts))
    number = next(unused, TRIALS[0])
    return f"{number}-{number + max(size, 0)}" if dash else str(number)


def locate_all(
    found: Survey, texts: Sequence[str], reread: Callable[[Sequence[str]], Survey]
) -> tuple[list[Position | None], list[Position | None]]:
    """Return where the port of each neighbour, and of each exporter, is written."""
    servers, exporters = _describe(found)

    def find_server(index: int) -> Position | None:
        def moves(changed: Sequence[str], other: str) -> bool:
            what, host, _ = servers[index]
            expected = [*servers[:index], (what, host, int(other)), *servers[index + 1 :]]
            return _describe(reread(changed)) == (expected, exporters)

        return locate(texts, str(servers[index][2]), moves)

    def find_exporter(index: int) -> Position | None:
        options = exporters[index]
        name = "port" if "port" in options else "port_range"
        written = options.get(name)
        if not isinstance(written, str) or not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", written):
            return None

        def moves(changed: Sequence[str], other: str) -> bool:
            expected = [*exporters[:index], {**options, name: other}, *exporters[index + 1 :]]
            return _describe(reread(changed)) == (servers, expected)

        return locate(texts, written, moves)

    return (
        [find_server(index) for index in range(len(servers))],
        [find_exporter(index) for index in range(len(exporters))],
    )


def _describe(
    found: Survey,
) -> tuple[list[tuple[str, str, int]], list[dict[str, object]]]:
    return (
        [(each.what, each.host, each.port) for each in found.neighbours],
        [dict(each.options) for each in found.exporters],
    )
