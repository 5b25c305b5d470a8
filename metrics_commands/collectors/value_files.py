"""The merged numbers of all workers, from their value files."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric

from .registry import Rendered, Surroundings, register
from .run import RefusedError


@register("value_files")
class ValueFilesCollector:
    """Yield the families of every web worker, task worker and command."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._files = surroundings.value_files

    def collect(self) -> Iterable[Metric | Rendered]:
        """Yield nothing where there is no metrics directory; the start lines have said so."""
        if self._files is not None:
            yield self._files.read()
            yield from self._files.describe_state()
            if self._files.problem:
                raise RefusedError(self._files.problem)
