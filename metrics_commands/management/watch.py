"""See how each collector fares, whoever runs it: a scrape, or somebody who looks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import Metric

from ..collectors.registry import (
    BUILT_IN,
    Collector,
    CollectorSet,
    Rendered,
    Surroundings,
    make_collectors,
)

# Of one collector; what it has more is counted, and not named.
MOST_NAMES = 500


@dataclass
class Sight:
    """One run: moments are of the monotonic clock, ``error`` is the class of what it raised."""

    began: float
    seconds: float = 0.0
    error: str = ""
    series: int = 0
    sizes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, family: Metric) -> None:
        """Count the series of a family."""
        samples = len(family.samples)
        self.series += samples
        key = (family.name, family.type)
        if key in self.sizes or len(self.sizes) < MOST_NAMES:
            self.sizes[key] += samples


class Watched:
    """A collector that remembers its last run, its last error, and what goes on."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self.interval: float | None = getattr(collector, "interval", None)
        self.timeout: float | None = getattr(collector, "timeout", None)
        self.place: str = getattr(collector, "place", "")
        self.going: Sight | None = None
        self.last: Sight | None = None
        self.last_failed: Sight | None = None
        self.failures = 0

    def collect(self) -> Iterator[Metric | Rendered]:
        """Yield what the collector yields, and raise what it raises."""
        sight = self.going = Sight(time.monotonic())
        try:
            for family in self._collector.collect():
                if isinstance(family, Metric) and isinstance(family.name, str):
                    sight.count(family)
                elif not hasattr(family, "render"):
                    # Here, since whoever runs it would leave it half-way and end it some day.
                    raise TypeError(f"{type(family).__qualname__} is no metric family")
                yield family
        except BaseException as error:
            sight.error = type(error).__name__
            raise
        finally:
            sight.seconds = time.monotonic() - sight.began
            if sight.error:
                self.failures += 1
                self.last_failed = sight
            self.last, self.going = sight, None


def make_watched(
    names: Iterable[str], surroundings: Surroundings, own: Mapping[str, Collector]
) -> CollectorSet:
    """Make the named collectors, each of which is seen."""
    made = make_collectors(names, surroundings, own).collectors
    return CollectorSet({name: Watched(each) for name, each in made.items()}, {*BUILT_IN, *own})


def list_watched(collectors: CollectorSet) -> dict[str, Watched]:
    """Return those that are seen, by name."""
    pairs = collectors.collectors.items()
    return {name: each for name, each in pairs if isinstance(each, Watched)}
