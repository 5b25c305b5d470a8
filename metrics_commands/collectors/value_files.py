"""The merged numbers of all workers, from their value files."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric

from .registry import Surroundings, register


@register("value_files")
class ValueFilesCollector:
    """Yield the families of every web worker, task worker and command."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._read = surroundings.read_value_files

    def collect(self) -> Iterable[Metric]:
        """Return nothing where there is no metrics directory; the start lines have said so."""
        return self._read() if self._read else ()
