"""Fold the files of dead workers, pass after pass, while others are written and read."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .archive import Archive, Shape, find_changed, read_archive, read_generation
from .fold import FOLDER, drop, fold, locked, open_to_read, settle
from .liveness import State, find_file_system, judge
from .merging import ARCHIVE
from .source import name_parts

logger = logging.getLogger("metrics_commands")

ARCHIVED_KINDS = (
    "counter",
    "gauge_max",
    "gauge_min",
    "gauge_mostrecent",
    "gauge_sum",
    "histogram",
    "summary",
)
BATCH = 64
PAUSE_SECONDS = 0.01
GRACE_SECONDS = 300.0
INTERVAL_SECONDS = 5.0
STOP_SECONDS = 0.5


@dataclass(frozen=True)
class Archived:
    """What is in an archive, without its numbers."""

    generation: int
    series: int
    shapes: Mapping[str, Shape]


@dataclass
class Report:
    """What the last pass saw and all passes did; ``unknown`` counts files by why."""

    states: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    series: int = 0
    folded: int = 0
    forgotten: int = 0
    last_fold: float = 0.0


class Folder:
    """Fold one directory, pass after pass; only the exporter that holds its lock may."""

    def __init__(
        self,
        directory: Path,
        find_shapes: Callable[[Collection[str]], Mapping[str, set[Shape]]],
        grace: float = GRACE_SECONDS,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.directory = directory
        self.report = Report()
        self._find_shapes = find_shapes
        self._grace = grace
        self._pause = pause
        self._died: dict[str, float] = {}
        self._alive: set[str] = set()
        self._archives: dict[str, Archived] = {}
        self._explained: set[str] = set()
        self._trouble = ""
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        if hasattr(signal, "SIGIO"):
            # Sent when somebody opens a file that we hold by a lease; its default ends a process.
            signal.signal(signal.SIGIO, signal.SIG_IGN)

    def start(self) -> None:
        """Run passes in a daemon thread; a death in any of them costs nothing."""
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the slice at hand end, and begin no other."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        # A reader that found no lock file must have ended before the first file moves.
        with suppress(OSError), locked(self.directory, fcntl.LOCK_EX):
            pass
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                self.run_pass()
                self._trouble = ""
            except OSError as error:
                if str(error) != self._trouble:
                    logger.warning("Dead workers' files cannot be folded now: %s.", error)
                self._trouble = str(error)
            except Exception:
                logger.exception("Folding failed; the numbers stay as they are.")

    def run_pass(self) -> None:
        """Fold what is dead now, in slices; OSError where the directory or disk refuses."""
        self._prepare_folder()
        self._finish_earlier()
        self._remove_drafts()
        names = self._examine()
        for kind in sorted(names):
            for start in range(0, len(names[kind]), BATCH):
                batch = names[kind][start : start + BATCH]
                if kind.startswith("gauge_live") or kind == "gauge_all":
                    drop(self.directory, batch)
                else:
                    self._fold(kind, batch)
                if self._stopped.wait(PAUSE_SECONDS):
                    return
        living = self._find_shapes(self._alive)
        for kind, archived in sorted(self._archives.items()):
            if find_changed(archived.shapes, living):
                self._fold(kind, [])

    def _remove_drafts(self) -> None:
        """Remove what a worker that was killed had only begun."""
        for draft in self.directory.glob("*.db.new"):
            with suppress(OSError):
                if time.time() - draft.stat().st_mtime > GRACE_SECONDS:
                    draft.unlink()

    def _prepare_folder(self) -> None:
        """Let whoever may read the directory see what lies in ``folding/``, since it counts."""
        folding = self.directory / FOLDER
        folding.mkdir(mode=0o700, exist_ok=True)
        found = folding.stat()
        mode = self.directory.stat().st_mode & 0o2775
        if found.st_uid == os.geteuid() and found.st_mode & 0o7777 != mode:
            folding.chmod(mode)

    def describe(self) -> Iterator[Metric]:
        """Yield the families about files, archive and folds."""
        report = self.report
        files = GaugeMetricFamily(
            "django_exporter_value_files",
            "Value files of workers, by whether their writer lives.",
            labels=["state"],
        )
        for state in State:
            files.add_metric([state.value], report.states[state.value])
        yield files
        yield GaugeMetricFamily(
            "django_exporter_value_files_bytes", "Disk space of value files.", value=report.bytes
        )
        yield GaugeMetricFamily(
            "django_exporter_archived_series",
            "Series that hold the counts of dead workers.",
            value=report.series,
        )
        yield CounterMetricFamily(
            "django_exporter_folded_files",
            "Files of dead workers that were folded into the archive.",
            value=report.folded,
        )
        yield CounterMetricFamily(
            "django_exporter_forgotten_families",
            "Families whose archived series were dropped, since they are declared differently now.",
            value=report.forgotten,
        )
        yield GaugeMetricFamily(
            "django_exporter_last_fold_timestamp_seconds",
            "When files were last folded, in Unix time; 0 for not yet.",
            value=report.last_fold,
        )

    def _finish_earlier(self) -> None:
        """Do what a crash left undone."""
        settle(self.directory)
        for kind in ARCHIVED_KINDS:
            generation = read_generation(self.directory, kind)
            known = self._archives.get(kind)
            if generation and (known is None or known.generation != generation):
                self._remember(read_archive(self.directory, kind))

    def _examine(self) -> dict[str, list[str]]:
        """Judge all files; return the names of the dead that are due, by kind."""
        states: Counter[str] = Counter()
        self._alive = set()
        unknown: Counter[str] = Counter()
        size = 0
        due: dict[str, list[str]] = {}
        file_system = find_file_system(self.directory)
        with os.scandir(self.directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            parts = name_parts(entry.name)
            if parts is None or parts[1] == ARCHIVE or not entry.is_file(follow_symlinks=False):
                continue
            self._pause()
            try:
                size += entry.stat(follow_symlinks=False).st_blocks * 512
                state, why = self._judge(entry.path, parts[1], file_system)
            except OSError:
                continue
            states[state.value] += 1
            if state is not State.DEAD:
                self._alive.add(entry.path)
            if state is State.UNKNOWN:
                unknown[why] += 1
            if state is State.DEAD and self._is_due(entry.name, parts[0]):
                due.setdefault(parts[0], []).append(entry.name)
        self.report.states, self.report.unknown, self.report.bytes = states, unknown, size
        here = {entry.name for entry in found}
        self._died = {name: when for name, when in self._died.items() if name in here}
        self._explain(unknown)
        return due

    def _judge(self, path: str, worker: str, file_system: str) -> tuple[State, str]:
        descriptor = open_to_read(path)
        try:
            verdict = judge(descriptor, worker, file_system)
        finally:
            os.close(descriptor)
        return verdict.state, verdict.why

    def _is_due(self, name: str, kind: str) -> bool:
        if kind != "gauge_all":
            return True
        return time.monotonic() - self._died.setdefault(name, time.monotonic()) >= self._grace

    def _explain(self, unknown: Counter[str]) -> None:
        for why in unknown.keys() - self._explained:
            self._explained.add(why)
            logger.warning(
                "%d value files are never folded, since nobody can tell whether their writers"
                " live: %s.",
                unknown[why],
                why,
            )

    def _fold(self, kind: str, names: list[str]) -> None:
        done = fold(self.directory, kind, names, self._find_shapes(self._alive), self._pause)
        if done is None:
            return
        archive, files = done
        self._remember(archive)
        self.report.folded += files
        self.report.forgotten += archive.forgotten
        self.report.last_fold = time.time()

    def _remember(self, archive: Archive) -> None:
        archived = Archived(archive.generation, len(archive.entries), dict(archive.shapes))
        self._archives[archive.kind] = archived
        self.report.series = sum(each.series for each in self._archives.values())
