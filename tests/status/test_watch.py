"""How collectors fare is seen, and they do as they did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from metrics_commands.collectors.registry import CollectorSet, QueryError, Surroundings
from metrics_commands.management.status import describe
from metrics_commands.management.watch import Watched, list_watched, make_watched


class Shaky:
    """Yield a family with two series, and then raise what it is told."""

    interval = 30.0

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("shaky", "Help.", labels=["a"])
        family.add_metric(["1"], 1)
        family.add_metric(["2"], 2)
        yield family
        if self.error:
            raise self.error


def test_a_run_is_seen_with_its_series_and_its_time() -> None:
    """The page says of each collector what its last run was like."""
    watched = Watched(Shaky())
    assert describe("shaky", watched, 0.0).state == "not yet"
    assert [family.name for family in watched.collect()] == ["shaky"]  # type: ignore[union-attr]
    assert watched.last is not None
    state = describe("shaky", watched, watched.last.began + 7)
    assert (state.state, state.series, state.interval) == ("works", 2, 30.0)
    assert state.age == pytest.approx(7)
    assert watched.last.sizes == {("shaky", "gauge"): 2}


@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit(3), KeyboardInterrupt()])
def test_a_failure_is_seen_by_its_class_only(error: BaseException) -> None:
    """What was raised goes on as it is; the page has its kind, and not what it says."""
    shaky = Shaky()
    watched = Watched(shaky)
    shaky.error = error
    with pytest.raises(type(error)):
        list(watched.collect())
    state = describe("shaky", watched, 1e9)
    assert (state.state, state.last_error, state.failures) == ("failed", type(error).__name__, 1)
    shaky.error = None
    list(watched.collect())
    state = describe("shaky", watched, 1e9)
    assert (state.state, state.last_error, state.failures) == ("works", type(error).__name__, 1)


def test_one_that_takes_long_is_running() -> None:
    """A collector that hangs is told, with how long it has done so."""
    watched = Watched(Shaky())
    run = watched.collect()
    next(run)
    assert watched.going is not None
    state = describe("shaky", watched, watched.going.began + 100)
    assert state.state == "running"
    assert state.age == pytest.approx(100)
    assert not list(run)
    assert describe("shaky", watched, 1e9).state == "works"


def test_what_is_no_family_is_a_failure() -> None:
    """A collector whose result nobody can use does not count as one that works."""

    class Odd:
        def collect(self) -> Iterable[Any]:
            return [SimpleNamespace()]

    watched = Watched(Odd())
    collectors = CollectorSet({"odd": watched})
    collectors.gather()
    assert describe("odd", watched, 0.0).last_error == "TypeError"


def test_collectors_that_are_seen_are_made_and_chosen_as_the_others() -> None:
    """Names, switches and queries mean the same."""
    collectors = make_watched(["gc", "shaky"], Surroundings(), {"shaky": Shaky(), "off": Shaky()})
    assert list(list_watched(collectors)) == ["gc", "shaky"]
    collectors.gather()
    assert all(each.last and not each.last.error for each in list_watched(collectors).values())
    with pytest.raises(QueryError, match="disabled collector: off"):
        collectors.choose(["off"], [])
