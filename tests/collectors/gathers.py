"""Collectors that do what a test wants, and what a gather of them has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from metrics_commands.collectors.gathering import Gathered
from metrics_commands.collectors.registry import CollectorSet
from tests.processes import Samples, parse_samples, sample, wait_until

SUCCESS = "django_exporter_collector_success"
DURATION = "django_exporter_collector_duration_seconds"
FAILURES = "django_exporter_collector_failures_total"
AGE = "django_exporter_collector_age_seconds"


class Simple:
    """A collector that does what a function does."""

    interval: float | None = None
    timeout: float | None = None

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


class Slow(Simple):
    """A collector that returns when it is let go, and counts how often it was asked."""

    def __init__(self, name: str = "slow") -> None:
        self.name = name
        self.calls = 0
        self.go = threading.Event()

    def collect(self) -> Iterable[Metric]:
        self.calls += 1
        value = self.calls
        assert self.go.wait(60)
        return [gauge(self.name, value)]


def gauge(name: str, value: float, **labels: str) -> Metric:
    """Return a family of one sample."""
    family = GaugeMetricFamily(name, "Help.", labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def make_set(**functions: Callable[[], Iterable[Metric]]) -> CollectorSet:
    """Make a set of collectors from functions."""
    return CollectorSet({name: Simple(collect) for name, collect in functions.items()})


def read(gathered: Gathered) -> Samples:
    """Return the samples of a gather; a repeated one is an error."""
    samples: Samples = {}
    names = set()
    for family in gathered.families:
        if isinstance(family, Metric):
            assert family.name not in names
            names.add(family.name)
            for each in family.samples:
                key = (each.name, frozenset(each.labels.items()))
                assert key not in samples
                samples[key] = each.value
        else:
            samples |= parse_samples(family.render(names).decode())
    return samples


def scrape(collectors: CollectorSet, seconds: float = 60.0) -> Samples:
    """Return the samples of one scrape."""
    return read(collectors.gather(seconds=seconds))


def count_failures(samples: Samples, name: str) -> tuple[float | None, ...]:
    """Return how often a collector failed: by an error, by a timeout, still running."""
    reasons = ("error", "timeout", "still_running")
    return tuple(sample(samples, FAILURES, collector=name, reason=each) for each in reasons)


def succeeded(samples: Samples, name: str) -> bool:
    """Tell whether a scrape says that a collector worked."""
    value = sample(samples, SUCCESS, collector=name)
    assert value in (0, 1)
    return value == 1


class Scrapes:
    """Scrapes of several clients at once, each in a thread of its own."""

    def __init__(self, collectors: CollectorSet) -> None:
        self._collectors = collectors
        self._threads: list[threading.Thread] = []
        self.results: list[Gathered] = []

    def begin(self, name: str, count: int = 1, *names: str) -> None:
        """Start some clients, and wait until they wait for the named collector."""
        before = self._count_waiting(name)

        def gather() -> None:
            self.results.append(self._collectors.gather(names or None, 60.0))

        threads = [threading.Thread(target=gather) for _ in range(count)]
        for thread in threads:
            thread.start()
        self._threads += threads
        wait_until(lambda: self._count_waiting(name) == before + count)

    def end(self) -> list[Gathered]:
        """Return what all of them got."""
        for thread in self._threads:
            thread.join(60)
        assert len(self.results) == len(self._threads)
        return self.results

    def _count_waiting(self, name: str) -> int:
        # Nobody outside can see that a thread waits, and a test must not guess.
        run = self._collectors._runners[name]._going
        return 0 if run is None else len(vars(vars(run.done)["_cond"])["_waiters"])
