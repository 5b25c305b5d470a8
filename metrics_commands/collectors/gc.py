"""Garbage collection of the exporter's own process."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, GCCollector, Metric

from .registry import Surroundings, register


@register("gc")
class ExporterGCCollector:
    """Yield prometheus_client's ``python_gc_*`` families."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._registry = CollectorRegistry()
        GCCollector(registry=self._registry)

    def collect(self) -> Iterable[Metric]:
        """Return the families of this moment."""
        return self._registry.collect()
