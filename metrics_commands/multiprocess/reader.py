"""Read all value files of a directory, again and again, and merge them."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .archive import Shape, find_shapes, read_generation
from .fold import FOLDER, list_pending, locked
from .folding import Folder
from .identity import own_place
from .liveness import explain_hidden, find_file_system, foresee_unknown, process_of
from .merging import ARCHIVE
from .source import KeyCache, SourceFile, name_parts
from .table import Merged, Table, build_table
from .workers import KIND, Roll, Workers, list_living

logger = logging.getLogger("metrics_commands")

RESERVED_DESCRIPTORS = 256
PRUNE_FACTOR = 2
LONGEST_READ = 1.0


class DirectoryReader:
    """Merge the value files of one directory; what cannot be read is left out and counted.

    Files stay open between scrapes and entries are parsed once, so that a scrape only fetches
    numbers, adds them up and writes them. Each file that is left out is logged once.
    ``is_told`` says that the directory cannot be read now, and that the log has it.
    """

    def __init__(self, directory: Path, *, is_told: bool = False) -> None:
        self.directory = directory
        self._is_told = is_told
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._sources: dict[str, SourceFile] = {}
        self._cache = KeyCache()
        self._table = Table()
        self._stale = False
        self._roll = Roll(directory)
        self._strange: dict[str, str] = {}
        self._logged: set[tuple[str, str]] = set()
        self.problem = ""
        # Of the problem, why the directory could not be listed.
        self._unlisted = ""
        self.folder: Folder | None = None
        self._seconds = 0.0
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._most_kept = max(limit - RESERVED_DESCRIPTORS, limit // 2)

    def count_workers(self) -> int:
        """Return how many processes have left value files here, the dead included."""
        workers = {worker for _, _, worker in self._list_files()} - {ARCHIVE}
        return len({process_of(each) for each in workers})

    def explain_unknown(self) -> Counter[str]:
        """Count the files that would never be folded, by why; no lease is taken."""
        file_system = find_file_system(self.directory)
        reasons: Counter[str] = Counter()
        for path, _, worker in self._list_files():
            with suppress(OSError):
                why = worker != ARCHIVE and foresee_unknown(path, worker, file_system)
                if why:
                    reasons[why] += 1
        return reasons

    def explain_hidden(self) -> Counter[str]:
        """Count the processes that left files here and whose pids mean nothing here, by why."""
        place = own_place()
        processes = {process_of(worker): worker for _, _, worker in self._list_files()}
        reasons = (explain_hidden(worker, place) for worker in processes.values())
        return Counter(why for why in reasons if why)

    def list_workers(self, metric: str) -> Workers:
        """Return the processes that have begun, as a counter of this name says, and who lives."""
        with self._lock, self._busy():
            self._refresh(KIND)
            starts, begun = self._roll.call(self._sources.values(), metric)
        # The folder sees to it that nobody who opens what we have leased ends this process.
        by_lease = self.folder is not None
        return Workers(starts, tuple(list_living(self.directory, begun, by_lease=by_lease)))

    def read(self) -> Merged:
        """Return the merged numbers of this moment."""
        with self._lock, self._busy():
            start = time.perf_counter()
            self._refresh()
            if self._stale:
                self._rebuild()
                self._stale = False
            self._log_skipped()
            merged = self._table.merge()
            self._seconds = time.perf_counter() - start
            return merged

    def _refresh(self, kind: str = "") -> None:
        """Take in what workers have written since the last time, in files of one kind or all."""
        # A fold between listing and opening would be seen half.
        with locked(self.directory, fcntl.LOCK_SH):
            self._stale |= self._open_and_close()
            for source in self._sources.values():
                if kind in ("", source.kind):
                    self._stale |= source.update(self._cache)
        unreadable = sum(each.problem == "unreadable" for each in self._sources.values())
        left_out = f"value files that cannot be read: {unreadable}" if unreadable else ""
        # Set at once: collectors look at it while another one's refresh goes on.
        self.problem = self._unlisted or left_out

    def wait_until_idle(self) -> None:
        """Wait while a scrape reads: it would lose the interpreter at each of its system calls."""
        self._idle.wait(LONGEST_READ)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    def find_shapes(self, paths: Collection[str]) -> Mapping[str, set[Shape]]:
        """Return how the metrics in some files are declared."""
        found: dict[str, set[Shape]] = {}
        with self._lock:
            layouts = {
                (source.kind, id(source.layout)): source.layout
                for path, source in self._sources.items()
                if path in paths
            }
            for (kind, _), layout in layouts.items():
                if layout.shapes is None:
                    layout.shapes = dict(find_shapes(kind, layout.keys))
                for name, shape in layout.shapes.items():
                    found.setdefault(name, set()).add(shape)
        return found

    def describe_state(self) -> Iterable[Metric]:
        """Return the families about the last read, its files and its directory."""
        with self._lock:
            reasons = Counter(self._find_skipped().values())
            up, seconds = float(not self.problem), self._seconds
        skipped = GaugeMetricFamily(
            "django_exporter_value_files_skipped",
            "Value files that are left out, wholly or in part, by reason.",
            labels=["reason"],
        )
        for reason, count in sorted(reasons.items()):
            skipped.add_metric([reason], count)
        yield skipped
        yield GaugeMetricFamily(
            "django_exporter_metrics_directory_up",
            "Whether the metrics directory and all value files in it could be read at this scrape.",
            value=up,
        )
        yield GaugeMetricFamily(
            "django_exporter_merge_duration_seconds",
            "Time to read and merge the value files at this scrape.",
            value=seconds,
        )
        if self.folder is not None:
            yield from self.folder.describe()

    def _list_files(self) -> list[tuple[str, str, str]]:
        """Return path, kind and worker of all value files, sorted; note those that are none."""
        files = []
        self._strange = {}
        for entry in self._scan():
            parts = name_parts(entry.name)
            if parts is not None and not entry.is_file(follow_symlinks=False):
                self._strange[entry.path] = "not_a_file"
            elif parts is not None:
                files.append((entry.path, *parts))
            elif entry.name.endswith(".db"):
                self._strange[entry.path] = "foreign"
        for name, generation, kind in list_pending(self.directory):
            if generation > read_generation(self.directory, kind):
                worker = name_parts(name.partition("-")[2])
                path = os.path.join(self.directory, FOLDER, name)
                files.append((path, kind, worker[1] if worker else ""))
        return sorted(files)

    def _scan(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.directory) as entries:
                found = list(entries)
        except OSError as error:
            problem = error.strerror or type(error).__name__
            if problem != self._unlisted and not self._is_told:
                logger.warning("Metrics directory %s cannot be read: %s.", self.directory, problem)
            self._unlisted, self._is_told = problem, False
            return []
        if self._unlisted or self._is_told:
            logger.info("Metrics directory %s can be read again.", self.directory)
        self._unlisted, self._is_told = "", False
        return found

    def _open_and_close(self) -> bool:
        listed = self._list_files()
        here = {path for path, _, _ in listed}
        gone = self._sources.keys() - here
        for path in gone:
            self._sources.pop(path).close()
        new = [each for each in listed if each[0] not in self._sources]
        for path, kind, worker in new:
            kept = len(self._sources) < self._most_kept
            self._sources[path] = SourceFile(path, kind, worker, kept=kept)
        return bool(gone or new)

    def _rebuild(self) -> None:
        files = [self._sources[path] for path in sorted(self._sources)]
        if self._table.regroup(files):
            return
        self._cache.keep_layouts(files)
        if len(self._cache.keys) > PRUNE_FACTOR * len(self._table.texts):
            self._cache.prune_keys()
        self._table = build_table(files, self._table.texts)

    def _log_skipped(self) -> None:
        skipped = set(self._find_skipped().items())
        for path, reason in sorted(skipped - self._logged):
            source = self._sources.get(path)
            detail = f" ({source.detail})" if source and source.detail else ""
            logger.warning("Value file %r is left out or cut: %s%s.", path, reason, detail)
        self._logged = skipped

    def _find_skipped(self) -> dict[str, str]:
        problems = {path: each.problem for path, each in self._sources.items() if each.problem}
        return {**self._strange, **self._table.conflicts, **problems}


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        # macOS calls the hard limit unlimited, and refuses it.
        return soft
    return hard
