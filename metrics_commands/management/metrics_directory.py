"""Open the metrics directory for one exporter: find it, take its lock, write down who serves it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .. import conf
from ..directory import WHAT_TO_ADD
from ..errors import ExporterError, name_user
from ..finding import Finding
from ..multiprocess.directory import locate_directory, prepare_directory
from ..multiprocess.folding import Folder
from ..multiprocess.lock import DirectoryLock, Holder, find_exporter, own_create_time, read_holder
from ..multiprocess.reader import DirectoryReader, raise_descriptor_limit
from .directory_findings import describe_obstacle, examine_agreement
from .patience import Patience

logger = logging.getLogger("metrics_commands")

START_WORKERS = (
    "Start the web process; if it runs already, see that its settings call"
    " use_metrics_directory() with this path."
)


@dataclass
class Tenure:
    """One exporter's time with a directory; without a lock it only serves.

    ``predecessor`` is the exporter before it, as far as the directory remembers one.
    """

    reader: DirectoryReader | None
    lock: DirectoryLock | None = None
    predecessor: Holder | None = None
    moves: int = 0

    def take_over(self, lock: DirectoryLock, predecessor: Holder | None) -> None:
        """Begin: the directory names us from now on, also while there is no port yet."""
        self.lock, self.predecessor = lock, predecessor
        self.moves = predecessor.moves if predecessor else 0
        self._write((), predecessor.port if predecessor else 0)

    def publish(self, urls: Sequence[str], port: int) -> None:
        """Write where we serve, and begin to fold: only who holds the lock does."""
        last = self.predecessor.port if self.predecessor else 0
        self.moves += bool(port and last and port != last)
        if self.reader is None or self.lock is None:
            return
        self._write(urls, port or last)
        reader = self.reader
        reader.folder = Folder(reader.directory, reader.find_shapes, pause=reader.wait_until_idle)
        reader.folder.start()

    def _write(self, urls: Sequence[str], port: int) -> None:
        if self.lock is not None:
            holder = Holder(os.getpid(), own_create_time(), tuple(urls), port, self.moves)
            self.lock.publish(holder)

    def end(self) -> None:
        """Stop folding and let the next exporter in."""
        if self.reader is not None and self.reader.folder is not None:
            self.reader.folder.stop()
        if self.lock is not None:
            self.lock.release()


def open_directory(config: conf.Config) -> DirectoryReader | None:
    """Return a reader of the metrics directory; None, said aloud, where none is configured."""
    if config.metrics_directory is None:
        logger.warning("No metrics directory: the numbers of workers are missing. %s", WHAT_TO_ADD)
        return None
    for finding in examine_agreement(config.metrics_directory):
        warn(finding)
    directory = prepare_directory(config.metrics_directory)
    if directory.problem:
        # What cannot be written may still be read: a volume that is mounted read-only.
        directory = locate_directory(config.metrics_directory)
    if directory.problem:
        warn(describe_obstacle(directory))
    if directory.refused:
        return None
    if directory.path != config.metrics_directory:
        logger.info(
            "Everybody may write into %s, so each user has a subdirectory; ours is %s.",
            config.metrics_directory,
            directory.path,
        )
    for doubt in directory.doubts:
        logger.warning("Metrics directory %s: %s.", directory.path, doubt)
    # One file a worker and kind stays open; a web process that reads them keeps its own limit.
    raise_descriptor_limit()
    return DirectoryReader(directory.path, is_told=bool(directory.problem))


def warn(finding: Finding) -> None:
    """Tell a finding in a line of the log."""
    lines = [f"In the {each.place}: {each.write}" for each in finding.changes]
    logger.warning("%s (%s)", " ".join([finding.what, finding.why, *lines]), finding.id)


def take_directory(tenure: Tenure, patience: Patience) -> None:
    """Take the lock of the directory, waiting for the exporter that has it to leave.

    Raises ExporterError where it stays. A directory that cannot be locked is served without.
    """
    reader = tenure.reader
    while reader is not None and tenure.lock is None:
        try:
            lock = DirectoryLock.acquire(reader.directory)
        except OSError as error:
            # A lock that is not ours to open may still name an exporter that lives.
            if find_exporter(reader.directory) is None:
                warn_of_lock(reader.directory, error)
                return
            lock = None
        if lock is not None:
            tenure.take_over(lock, read_holder(reader.directory))
        elif not patience.wait(partial(describe_wait, reader.directory)):
            raise ExporterError(
                describe_holder(reader.directory),
                "One exporter is enough. Stop that one first, or give this deployment a metrics"
                " directory of its own.",
            )


def warn_of_lock(directory: Path, error: OSError) -> None:
    """Tell what is missing without the lock; that nothing can be read, opening it has told."""
    if os.access(directory, os.R_OK | os.X_OK):
        logger.warning(
            "Metrics directory %s cannot be locked: %s. It is served, but the port is not"
            " remembered, and files of dead workers stay. Let user %s write there.",
            directory,
            error.strerror,
            name_user(),
        )


def describe_wait(directory: Path) -> str:
    """Say for whose end we wait."""
    return f"{describe_holder(directory)} Waiting for its end."


def describe_holder(directory: Path) -> str:
    """Say who serves a directory, and where, in one sentence."""
    holder = read_holder(directory)
    if holder is None:
        return "Another exporter holds this metrics directory."
    if not holder.urls:
        return (
            f"Another exporter, pid {holder.pid}, holds this metrics directory, yet without port."
        )
    urls = " and ".join(holder.urls)
    return f"This metrics directory is served already, by pid {holder.pid} at {urls}."


def announce_directory(path: Path, workers: int) -> None:
    """Tell where the numbers come from, with a hint where nobody has written any."""
    logger.info("Metrics directory: %s; processes that left value files there: %d.", path, workers)
    if not workers and os.access(path, os.R_OK | os.X_OK):
        logger.info("No process has written there yet. %s", START_WORKERS)
