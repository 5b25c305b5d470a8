"""The Python that the exporter runs on."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric, PlatformCollector

from .registry import Surroundings, register


@register("platform")
class ExporterPlatformCollector:
    """Yield prometheus_client's ``python_info``."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._collector = PlatformCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        """Return the one family."""
        return self._collector.collect()
