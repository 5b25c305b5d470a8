"""Collectors with an interval run in the background, and their numbers never only look alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
import pytest
from django.db import connections
from prometheus_client import Metric

from metrics_commands.collectors import run
from metrics_commands.collectors.registry import CollectorSet
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import (
    AGE,
    Simple,
    Slow,
    count_failures,
    gauge,
    make_set,
    scrape,
    succeeded,
)
from tests.processes import sample, wait_until


def make_calm(interval: float, collect: Callable[[], Iterable[Metric]]) -> CollectorSet:
    """Make a set of one collector that has an interval."""
    collector = Simple(collect)
    collector.interval = interval
    return CollectorSet({"calm": collector})


def test_the_last_result_is_served_with_its_age() -> None:
    """Within its interval a collector runs once, and each scrape tells how old its numbers are."""
    calls: list[int] = []

    def collect() -> Iterable[Metric]:
        calls.append(1)
        return [gauge("calm", 1)]

    start = time.monotonic()
    collectors = make_calm(3600.0, collect)
    assert calls == []
    ages = []
    for _ in range(50):
        samples = scrape(collectors)
        assert sample(samples, "calm") == 1
        ages.append(sample(samples, AGE, collector="calm") or 0.0)
    assert len(calls) == 1
    assert ages == sorted(set(ages))
    assert 0 < ages[-1] < time.monotonic() - start


def test_only_an_interval_gives_an_age() -> None:
    """What runs at each scrape shows nothing of an earlier one."""
    collectors = make_set(plain=lambda: [gauge("plain", 1)])
    assert [name for name, _ in scrape(collectors) if name == AGE] == []


def test_nothing_runs_while_nobody_scrapes() -> None:
    """A run begins with a scrape that finds it due, and with nothing else."""
    calls: list[int] = []
    collectors = make_calm(0.01, lambda: calls.append(1) or [])  # type: ignore[func-returns-value]
    scrape(collectors)
    end = time.monotonic() + 0.1
    wait_until(lambda: time.monotonic() > end)
    assert len(calls) == 1
    scrape(collectors)
    assert len(calls) == 2


def test_a_run_in_the_background_is_waited_for_by_nobody_until_numbers_are_old() -> None:
    """The earlier result bridges a slow run, but not one that hangs; it heals by itself."""
    slow = Slow()
    slow.interval = 0.5
    collectors = CollectorSet({"slow": slow})
    assert not succeeded(scrape(collectors, 0.0), "slow")
    slow.go.set()
    assert sample(scrape(collectors), "slow") == 1
    slow.go.clear()
    try:
        while slow.calls == 1:
            samples = scrape(collectors)
        assert sample(samples, "slow") == 1
        assert (sample(samples, AGE, collector="slow") or 0) >= 0.5
        assert count_failures(samples, "slow") == (0, 1, 0)
        old = wait_until(
            lambda: each if not succeeded(each := scrape(collectors, 0.01), "slow") else None
        )
        assert sample(old, "slow") is None
        assert sample(old, AGE, collector="slow") is None
        assert count_failures(old, "slow") == (0, 1, 1)
        assert slow.calls == 2
    finally:
        slow.go.set()
    assert (
        sample(
            wait_until(lambda: each if sample(each := scrape(collectors), "slow") else None), "slow"
        )
        == 2
    )


def test_after_a_pause_numbers_are_fresh() -> None:
    """Who scrapes seldom waits for a run rather than getting what was true long ago."""
    values = iter(range(1, 100))
    collectors = make_calm(0.001, lambda: [gauge("calm", next(values))])
    for expected in range(1, 4):
        end = time.monotonic() + 0.01
        wait_until(lambda end=end: time.monotonic() > end)  # type: ignore[misc]
        assert sample(scrape(collectors), "calm") == expected


def test_a_failed_run_shows_no_number_of_an_earlier_one() -> None:
    """An old number that looks alive is worse than none, until the next run that works."""
    fails = [False]

    def collect() -> Iterable[Metric]:
        if fails[0]:
            raise ValueError("no database")
        return [gauge("calm", 1)]

    collectors = make_calm(0.02, collect)
    for fails[0] in (False, True, False, True):
        samples = wait_until(
            lambda: each if succeeded(each := scrape(collectors), "calm") != fails[0] else None
        )
        assert (sample(samples, "calm") is None) == fails[0]


def test_what_has_failed_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is back is seen long before the interval is over, and not asked each time."""
    fails, calls = [True], []

    def collect() -> Iterable[Metric]:
        calls.append(1)
        if fails[0]:
            raise ValueError("no database")
        return [gauge("calm", len(calls))]

    collectors = make_calm(3600.0, collect)
    end = time.monotonic() + 0.3
    wait_until(lambda: not succeeded(scrape(collectors), "calm") and time.monotonic() > end)
    assert len(calls) == 1
    monkeypatch.setattr(run, "RETRY_SECONDS", 0.1)
    wait_until(lambda: scrape(collectors) and len(calls) >= 3)
    assert not succeeded(scrape(collectors), "calm")
    fails[0] = False
    wait_until(lambda: succeeded(scrape(collectors), "calm"))
    healed = len(calls)
    later = time.monotonic() + 0.3
    wait_until(lambda: scrape(collectors) and time.monotonic() > later)
    assert sample(scrape(collectors), "calm") == len(calls) == healed


def test_a_short_interval_is_no_longer_after_a_failure() -> None:
    """Who wants fresh numbers each moment waits no ten seconds for the next try."""
    tries = iter(range(100))
    collectors = make_calm(0.01, lambda: [gauge("calm", 1 / next(tries))])
    start = time.monotonic()
    assert not succeeded(scrape(collectors), "calm")
    wait_until(lambda: succeeded(scrape(collectors), "calm"))
    assert time.monotonic() - start < run.RETRY_SECONDS


@pytest.mark.parametrize("interval", [None, 3600.0])
def test_databases_that_a_collector_opened_are_closed(
    add_database: AddDatabase, interval: float | None
) -> None:
    """A collector may ask the database; between scrapes no connection is kept for it."""
    path = add_database("main")
    opened: list[bool] = []

    def collect() -> Iterable[Metric]:
        with connections["main"].cursor() as cursor:
            cursor.execute("SELECT * FROM sqlite_master")
        opened.append(path in list_open_files())
        return []

    collector = Simple(collect)
    collector.interval = interval
    assert succeeded(scrape(CollectorSet({"orm": collector})), "orm")
    assert opened == [True]
    assert path not in list_open_files()


def list_open_files() -> list[Path]:
    """Return what this process has open."""
    return [Path(each.path) for each in psutil.Process().open_files()]
