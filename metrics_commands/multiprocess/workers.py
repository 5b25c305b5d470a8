"""The processes that count: how many began, by role, and which of them live.

Each has one entry in its own file of counters, which says so, and which the archive keeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .fold import open_to_read
from .identity import own_place
from .liveness import State, find_file_system, find_pid, has_ended, judge, process_of
from .merging import ARCHIVE
from .source import Layout, SourceFile

KIND = "counter"
ROLE = "role"
Place = tuple[str, int]
# Path, identity and role.
Begun = tuple[str, str, str]


@dataclass(frozen=True)
class Worker:
    """A process that lives; ``pid`` is 0 where it means nothing to us."""

    process: str
    role: str
    pid: int


@dataclass(frozen=True)
class Workers:
    """How many processes have begun, by role, and those that live."""

    starts: Mapping[str, float]
    living: tuple[Worker, ...]


class Roll:
    """Find the entries of one metric in the files of counters; each layout is searched once."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        self._metric = ""
        self._known: dict[int, tuple[Layout, list[Place]]] = {}

    def call(
        self, sources: Iterable[SourceFile], metric: str
    ) -> tuple[dict[str, float], list[Begun]]:
        """Return the starts by role, and the workers that have begun and are not folded."""
        if metric != self._metric:
            self._metric, self._known = metric, {}
        known, self._known = self._known, {}
        starts: dict[str, float] = {}
        begun = []
        for source in sources:
            if source.kind != KIND:
                continue
            for role, double in self._find(source.layout, known):
                count = source.view[double]
                starts[role] = starts.get(role, 0.0) + count
                if count and self._may_live(source):
                    begun.append((source.path, source.worker, role))
        return starts, begun

    def _find(self, layout: Layout, known: Mapping[int, tuple[Layout, list[Place]]]) -> list[Place]:
        mark = id(layout)
        found = self._known.get(mark) or known.get(mark)
        self._known[mark] = found or (layout, list(self._search(layout)))
        return self._known[mark][1]

    def _search(self, layout: Layout) -> Iterator[Place]:
        for key, double in zip(layout.keys, layout.doubles, strict=True):
            if key is not None and key.metric == self._metric:
                yield dict(key.labels).get(ROLE, ""), double

    def _may_live(self, source: SourceFile) -> bool:
        # What is being folded is dead.
        return source.worker != ARCHIVE and os.path.dirname(source.path) == self._directory


def list_living(directory: Path, begun: Iterable[Begun], *, by_lease: bool) -> Iterator[Worker]:
    """Yield the workers that live, of those with such a path, identity and role.

    Where a pid means something here its process decides, else the file's lease; who cannot be
    judged by either counts as living.
    """
    place, file_system = own_place(), find_file_system(directory)
    seen = set()
    for path, worker, role in begun:
        process, pid = process_of(worker), find_pid(worker, place)
        if process in seen:
            continue
        if has_ended(worker) if pid else by_lease and _is_dead(path, worker, file_system):
            continue
        seen.add(process)
        yield Worker(process, role, pid)


def _is_dead(path: str, worker: str, file_system: str) -> bool:
    try:
        descriptor = open_to_read(path)
    except FileNotFoundError:
        # Only the dead are folded.
        return True
    except OSError:
        return False
    try:
        return judge(descriptor, worker, file_system).state is State.DEAD
    finally:
        os.close(descriptor)
