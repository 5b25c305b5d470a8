"""Read all value files of a directory and merge them into families."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector

logger = logging.getLogger("metrics_commands")


class DirectoryReader:
    """Merge the value files of one directory, leaving out files that cannot be read.

    A file that is skipped is logged once; the rest is served.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._skipped: set[str] = set()

    def list_files(self) -> list[str]:
        """Return the paths of all value files, sorted; none where the directory is missing."""
        try:
            with os.scandir(self.directory) as entries:
                # Reading a pipe would wait for ever; no writer of values makes pipes or links.
                return sorted(
                    entry.path
                    for entry in entries
                    if entry.name.endswith(".db") and entry.is_file(follow_symlinks=False)
                )
        except OSError:
            return []

    def count_workers(self) -> int:
        """Return how many processes have left value files here, the dead included."""
        return len({path.rpartition("_")[2] for path in self.list_files()})

    def read_families(self) -> Iterable[Metric]:
        """Return the merged families, each with the samples of all workers."""
        files = self.list_files()
        while True:
            try:
                return merge(files)
            except Exception:
                # One bad file fails the whole merge, and only trying each tells which one it is.
                readable = [file for file in files if self._is_readable(file)]
                if readable == files:
                    raise
                files = readable

    def _is_readable(self, file: str) -> bool:
        try:
            merge([file])
        except Exception as error:
            if file not in self._skipped:
                self._skipped.add(file)
                logger.warning(
                    "Value file %s is left out: %s: %s", file, type(error).__name__, error
                )
            return False
        return True


def merge(files: Sequence[str]) -> list[Metric]:
    """Return the families of some value files; it raises whatever a bad file makes it raise."""
    return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
