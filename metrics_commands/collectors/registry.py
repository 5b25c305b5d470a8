"""Registration of collectors, and a scrape of them: timed, isolated, each family once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from ..errors import ConfigurationError
from ..parsers import shorten
from ..setting import Switch

logger = logging.getLogger("metrics_commands")

# Code of others also gives up by sys.exit(), which is no reason to end the exporter.
FAILURES = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)
BUILT_IN = (
    "application", "build_info", "gc", "migrations", "platform", "port", "process", "system",
    "value_files",
)  # fmt: skip


class Rendered(Protocol):
    """Families that come as text, since there are too many of them to make objects first."""

    @property
    def names(self) -> Collection[str]: ...

    def render(self, skip: Collection[str] = ()) -> bytes: ...


class Collector(Protocol):
    """Yield fresh families at every scrape; an exception costs the rest of this collector only."""

    def collect(self) -> Iterable[Metric | Rendered]: ...


class ValueFiles(Protocol):
    """The workers' numbers; ``problem`` says why the directory could not be listed, if so."""

    @property
    def problem(self) -> str: ...

    def read(self) -> Rendered: ...

    def describe_state(self) -> Iterable[Metric]: ...


@dataclass(frozen=True)
class Surroundings:
    """What a collector is given: the metrics' prefix, the reader of the value files, and more.

    ``count_moves`` tells how often the port has changed.
    """

    namespace: str = ""
    value_files: ValueFiles | None = None
    count_moves: Callable[[], int] = lambda: 0


Factory = Callable[[Surroundings], Collector]

_factories: dict[str, Factory] = {}


def register(name: str) -> Callable[[type], type]:
    """Register a class, made with ``Surroundings``, as the collector of this name."""

    def keep(factory: type) -> type:
        _factories[name] = factory
        return factory

    return keep


@dataclass
class CollectorSet:
    """The collectors of one exporter, in the order of their names."""

    collectors: Mapping[str, Collector]
    _failing: set[str] = field(default_factory=set)

    def gather(self) -> list[Metric | Rendered]:
        """Run every collector and return all families, sorted by name, each name once.

        Where two collectors yield a family of one name, the first in the order wins: what the
        exporter's own process knows of a metric is fresher than what workers left in files.
        What is rendered comes last, and leaves out the names before it when it is written.
        """
        families: dict[str, Metric] = {}
        rendered: list[Rendered] = []
        success = GaugeMetricFamily(
            "django_exporter_collector_success",
            "Whether a collector worked at this scrape.",
            labels=["collector"],
        )
        duration = GaugeMetricFamily(
            "django_exporter_collector_duration_seconds",
            "Time that a collector took at this scrape.",
            labels=["collector"],
        )
        for name, collector in self.collectors.items():
            start = time.perf_counter()
            own: dict[str, Metric] = {}
            succeeded = self._run(name, collector, own, rendered)
            families = own | families
            success.add_metric([name], float(succeeded))
            duration.add_metric([name], time.perf_counter() - start)
        families |= {success.name: success, duration.name: duration}
        return [*(families[name] for name in sorted(families)), *rendered]

    def _run(
        self,
        name: str,
        collector: Collector,
        families: dict[str, Metric],
        rendered: list[Rendered],
    ) -> bool:
        try:
            for family in collector.collect():
                if isinstance(family, Metric) and isinstance(family.name, str):
                    known = families.setdefault(family.name, family)
                    if known is not family and known.type == family.type:
                        families[family.name] = unite(known, family)
                elif hasattr(family, "render"):
                    rendered.append(family)
                else:
                    raise TypeError(f"{type(family).__qualname__} is no metric family")
        except FAILURES:
            if name not in self._failing:
                logger.exception("Collector %s failed; the others are served.", name)
                self._failing.add(name)
            return False
        if name in self._failing:
            logger.info("Collector %s works again.", name)
            self._failing.discard(name)
        return True


def unite(first: Metric, second: Metric) -> Metric:
    """Return one family of both, since some collectors yield a family once for every sample."""
    joined = copy(first)
    joined.samples = [*first.samples, *second.samples]
    return joined


def choose_collectors(switches: Mapping[str, Switch]) -> list[str]:
    """Return the names of the collectors that are on; unknown names raise ConfigurationError."""
    for name, switch in switches.items():
        if name not in BUILT_IN:
            raise ConfigurationError(
                f"{switch.given.label} names {shorten(name)}, which is no collector:"
                f" it should be one of {', '.join(BUILT_IN)}.",
                from_option=switch.given.source == "option",
            )
    return [name for name in BUILT_IN if name not in switches or switches[name].on]


def make_collectors(names: Iterable[str], surroundings: Surroundings) -> CollectorSet:
    """Import and make the named collectors; one that cannot be made is logged and left out."""
    collectors: dict[str, Collector] = {}
    for name in names:
        try:
            import_module(f"{__package__}.{name}")
            collectors[name] = _factories[name](surroundings)
        except FAILURES:
            logger.exception("Collector %s cannot start; the others are served.", name)
            collectors[name] = _Broken()
    return CollectorSet(collectors)


class _Broken:
    def collect(self) -> Iterable[Metric | Rendered]:
        raise RuntimeError("it could not be started")
