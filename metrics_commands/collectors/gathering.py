"""A scrape of several collectors, which ends in time and which all who come meanwhile share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .joining import Joiner
from .run import Run, Runner

if TYPE_CHECKING:
    from .registry import Rendered

T = TypeVar("T")


class Gathered:
    """The families of a gather, for all who took as much of it.

    They are sorted by name, each name once; what is rendered comes last, and leaves out the
    names before it when it is written. ``complete`` tells whether all collectors have returned.
    """

    def __init__(self, families: list[Metric | Rendered], *, complete: bool) -> None:
        self.families = families
        self.complete = complete
        self._lock = threading.Lock()
        self._made: dict[Hashable, Future[Any]] = {}

    def share(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` makes, or raise what it raises; it is called once for each key."""
        with self._lock:
            future = self._made.get(key)
            first = future is None
            if future is None:
                future = self._made[key] = Future()
        if first:
            try:
                future.set_result(make())
            except BaseException as error:
                # Also an exit: those who wait would wait for ever.
                future.set_exception(error)
        return cast(T, future.result())


class Gather:
    """One run of each collector, and what the scrapes that wait for them took."""

    def __init__(self, runners: Iterable[Runner], joiner: Joiner) -> None:
        self.began = time.monotonic()
        self._joiner = joiner
        self._runs = [(runner, runner.join()) for runner in runners]
        self._lock = threading.Lock()
        self._taken: dict[frozenset[str], Gathered] = {}
        self._missed: set[str] = set()
        self._lost: set[str] = set()

    def wait(self, seconds: float) -> None:
        """Wait for all collectors, but for none whose run has been going on for longer already."""
        arrival = time.monotonic()
        for runner, run in self._runs:
            patience = min(seconds, runner.timeout)
            if arrival - run.began < patience:
                run.done.wait(arrival + patience - time.monotonic())

    def take(self) -> Gathered:
        """Return what there is; those who find the same collectors missing share it."""
        with self._lock:
            ready = [(runner, run) for runner, run in self._runs if run.done.is_set()]
            missing = frozenset({runner.name for runner, _ in self._runs}).difference(
                runner.name for runner, _ in ready
            )
            if missing not in self._taken:
                self._count_missing(missing)
                families = self._combine(ready, missing)
                self._taken[missing] = Gathered(families, complete=not missing)
            return self._taken[missing]

    def _count_missing(self, missing: Collection[str]) -> None:
        for runner, run in self._runs:
            if runner.name in missing and runner.name not in self._missed:
                own = run.began >= self.began
                runner.miss(run, "timeout" if own else "still_running")
        self._missed.update(missing)

    def _combine(
        self, ready: Sequence[tuple[Runner, Run]], missing: Collection[str]
    ) -> list[Metric | Rendered]:
        """Return all families, sorted by name, each name once, and then what is rendered."""
        joined = self._joiner.join([(runner.name, run) for runner, run in ready])
        for runner, run in ready:
            if runner.name in joined.losers and runner.name not in self._lost:
                runner.miss(run, "error")
        self._lost.update(joined.losers)
        own = describe(self._runs, missing, joined.losers)
        families = joined.families | {family.name: family for family in own}
        rendered = [each for _, run in ready for each in run.rendered]
        return [*(families[name] for name in sorted(families)), *rendered]


def describe(
    runs: Iterable[tuple[Runner, Run]], missing: Collection[str], losers: Collection[str]
) -> Iterable[Metric]:
    """Return how the collectors themselves fared."""
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
    failures = CounterMetricFamily(
        "django_exporter_collector_failures",
        "Runs of a collector that failed, and gathers that had to do without it.",
        labels=["collector", "reason"],
    )
    age = GaugeMetricFamily(
        "django_exporter_collector_age_seconds",
        "Time since a collector with an interval of its own began to find what is shown of it.",
        labels=["collector"],
    )
    now = time.monotonic()
    for runner, run in runs:
        name, done = [runner.name], runner.name not in missing
        success.add_metric(name, float(done and run.succeeded and runner.name not in losers))
        duration.add_metric(name, (run.ended if done else now) - run.began)
        for reason, count in runner.failures.items():
            failures.add_metric([*name, reason], count)
        if runner.interval and done:
            age.add_metric(name, now - run.began)
    return [success, duration, failures, *([age] if age.samples else [])]
