"""What the project's apps register with prometheus_client and value files cannot carry.

Custom collectors, gauges with ``set_function``, Info and Enum run here, once, in the exporter,
and describe the exporter's process. Plain counters, gauges, summaries and histograms are left
out: their numbers come from the workers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from django.apps import apps
from django.utils.module_loading import module_has_submodule
from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    Enum,
    Gauge,
    Info,
    Metric,
)
from prometheus_client.metrics import MetricWrapperBase

from .registry import FAILURES, Surroundings, register

logger = logging.getLogger("metrics_commands")

SHOWN_BY_OTHERS = (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR)


@register("application")
class ApplicationCollector:
    """Load every app's ``metrics.py`` once; yield what only this process can tell."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._unloaded = list(load_metrics_modules())
        self._failing: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        """Yield the families of all custom collectors; one that fails costs only itself."""
        failed = list(self._unloaded)
        for collector in list_collectors():
            name = describe(collector)
            try:
                families = [check(family) for family in collect_from(collector)]
            except FAILURES:
                failed.append(name)
                if name not in self._failing:
                    logger.exception("No metrics from %s; the others are served.", name)
                self._failing.add(name)
                if isinstance(collector, MetricWrapperBase):
                    # Empty, so that what workers wrote of it does not stand in its place.
                    yield from collector.describe()
            else:
                self._failing.discard(name)
                yield from families
        if failed:
            raise RuntimeError(f"no metrics from {', '.join(failed)}")


def load_metrics_modules() -> Iterator[str]:
    """Import ``metrics.py`` of every installed app; yield those that fail, having logged them."""
    for config in apps.get_app_configs():
        module = f"{config.name}.metrics"
        try:
            if config.module and module_has_submodule(config.module, "metrics"):
                import_module(module)
        except FAILURES:
            logger.exception("%s cannot be imported; its metrics are missing.", module)
            yield module


def list_collectors() -> list[Any]:
    """Return the collectors that apps have registered in prometheus_client's default registry."""
    # The registry offers no public way to run its collectors apart from each other.
    registered = list(vars(REGISTRY)["_collector_to_names"])
    return [
        each
        for each in registered
        if each not in SHOWN_BY_OTHERS and not getattr(each, "written_by_workers", False)
    ]


def describe(collector: Any) -> str:
    """Name a collector for the log: a metric by its own name, another object by its class."""
    if isinstance(collector, MetricWrapperBase):
        return f"metric {collector}"
    return f"custom collector {type(collector).__qualname__}"


def check(family: object) -> Metric:
    """Return a family; refuse anything else while it is known whose it is."""
    if not isinstance(family, Metric):
        raise TypeError(f"{type(family).__qualname__} is no metric family")
    return family


def collect_from(collector: Any) -> Iterable[Metric]:
    """Return the families of one collector, or of a metric those that workers cannot write."""
    if not isinstance(collector, MetricWrapperBase) or isinstance(collector, Info | Enum):
        return collector.collect()
    if isinstance(collector, Gauge):
        return collect_functions(collector)
    return ()


def collect_functions(gauge: Gauge) -> Iterator[Metric]:
    """Yield a gauge with only those of its children whose value is a function."""
    names = vars(gauge)["_labelnames"]
    children = [((), gauge), *vars(gauge).get("_metrics", {}).items()]
    for family in gauge.collect():
        wanted = [
            dict(zip(names, values, strict=False))
            for values, child in children
            # set_function() replaces this method on the instance; nothing public tells.
            if "_child_samples" in vars(child)
        ]
        family.samples = [sample for sample in family.samples if sample.labels in wanted]
        if family.samples:
            yield family
