"""A scrape ends in time, whatever collectors do, and scrapes at once cost no more than one."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import Metric

from metrics_commands.collectors.gathering import Gathered
from metrics_commands.collectors.registry import Collector, CollectorSet
from tests.collectors.gathers import (
    DURATION,
    Scrapes,
    Simple,
    Slow,
    count_failures,
    gauge,
    make_set,
    read,
    scrape,
    succeeded,
)
from tests.processes import sample, wait_until

# Enough for a hundred threads to begin on a busy machine.
LIMIT = 3.0


@contextmanager
def let_go(*slow: Slow) -> Iterator[None]:
    """Let collectors go in the end, so that no thread is left waiting."""
    try:
        yield
    finally:
        for each in slow:
            each.go.set()


def fail() -> list[Metric]:
    """Fail at once."""
    raise ValueError("no database")


def test_a_scrape_of_bad_collectors_ends_in_time_with_the_good_ones() -> None:
    """Of a hundred, those that hang, fail or dawdle cost only themselves, and one scrape's time."""
    hanging = {f"hanging_{i}": Slow() for i in range(10)}
    slow = {f"slow_{i}": Slow(f"slow_{i}") for i in range(10)}
    good = {f"good_{i}": Simple(lambda i=i: [gauge(f"good_{i}", i)]) for i in range(70)}  # type: ignore[misc]
    failing = {f"failing_{i}": Simple(fail) for i in range(10)}
    collectors = CollectorSet({**hanging, **slow, **failing, **good})
    with let_go(*hanging.values(), *slow.values()):
        start = time.monotonic()
        first = collectors.gather(seconds=LIMIT)
        assert LIMIT <= time.monotonic() - start < 30
        assert not first.complete
        samples = read(first)
        assert [sample(samples, name) for name in good] == list(range(70))
        assert [name for name in collectors.collectors if succeeded(samples, name)] == list(good)
        assert {count_failures(samples, name) for name in (*hanging, *slow)} == {(0, 1, 0)}
        for each in slow.values():
            each.go.set()
        wait_until(lambda: not any(collectors._runners[name]._going for name in slow))
        start = time.monotonic()
        samples = scrape(collectors, LIMIT)
        assert time.monotonic() - start < LIMIT
        assert {name for name in collectors.collectors if succeeded(samples, name)} == {
            *good,
            *slow,
        }
        assert {count_failures(samples, name) for name in hanging} == {(0, 1, 1)}
        assert {count_failures(samples, name) for name in failing} == {(2, 0, 0)}
        assert {each.calls for each in hanging.values()} == {1}
        assert (sample(samples, DURATION, collector="hanging_0") or 0) > 1.0


def test_scrapes_at_once_run_each_collector_once() -> None:
    """Forty clients that ask at once get one and the same result."""
    slow, quick = Slow(), []
    collectors = CollectorSet(
        {"slow": slow, "quick": Simple(lambda: [gauge("quick", quick.append(1) or 1)])}  # type: ignore[func-returns-value]
    )
    with let_go(slow):
        scrapes = Scrapes(collectors)
        scrapes.begin("slow", 40)
    results = scrapes.end()
    assert len({id(each) for each in results}) == 1
    assert (slow.calls, len(quick)) == (1, 1)
    assert results[0].complete
    assert sample(read(results[0]), "slow") == 1


def test_a_deadline_is_the_clients_own() -> None:
    """Who waits longer gets more, of the same run, and never what was made of less."""
    slow = Slow()
    collectors = CollectorSet({"slow": slow, "quick": Simple(lambda: [gauge("quick", 1)])})
    with let_go(slow):
        scrapes = Scrapes(collectors)
        scrapes.begin("slow", 2)
        hurried = collectors.gather(seconds=0.2)
        assert not hurried.complete
        assert hurried.share("page", lambda: "little") == "little"
        assert sample(read(hurried), "slow") is None
        assert sample(read(hurried), "quick") == 1
    patient = scrapes.end()
    assert [each.complete for each in patient] == [True, True]
    assert [each.share("page", lambda: "much") for each in patient] == ["much"] * 2
    assert slow.calls == 1
    assert count_failures(read(patient[0]), "slow") == (0, 1, 0)


def test_a_result_that_was_taken_is_not_served_again() -> None:
    """A scrape that begins after another has ended gets fresh numbers, also while one waits on."""
    slow, calls = Slow(), iter(range(1, 10))
    collectors = CollectorSet({"slow": slow, "quick": Simple(lambda: [gauge("q", next(calls))])})
    with let_go(slow):
        scrapes = Scrapes(collectors)
        scrapes.begin("slow")
        seen = [sample(scrape(collectors, 0.2), "q") for _ in range(3)]
    (patient,) = scrapes.end()
    # The first of them joined what the patient one had begun.
    assert seen == [1, 2, 3]
    assert sample(read(patient), "q") == 1
    assert slow.calls == 1


def test_scrapes_of_other_collectors_join_the_same_run() -> None:
    """Two Prometheus servers with filters of their own do not run a collector twice at once."""
    slow = Slow()
    other = Simple(lambda: [gauge("other", 1)])
    collectors = CollectorSet({"slow": slow, "other": other})
    with let_go(slow):
        scrapes = Scrapes(collectors)
        scrapes.begin("slow", 1, "slow")
        scrapes.begin("slow", 1, "other", "slow")
    samples = [read(each) for each in scrapes.end()]
    assert slow.calls == 1
    assert [sample(each, "slow") for each in samples] == [1, 1]
    assert sorted(sample(each, "other") or 0 for each in samples) == [0, 1]


def test_a_collector_is_waited_for_no_longer_than_it_says() -> None:
    """A timeout of its own keeps a collector from using up the time of the scrape."""
    slow = Slow()
    slow.timeout = 0.05
    with let_go(slow):
        start = time.monotonic()
        samples = scrape(CollectorSet({"slow": slow}), 60.0)
        assert time.monotonic() - start < 30
        assert count_failures(samples, "slow") == (0, 1, 0)


def test_a_timeout_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A collector that comes too late at every scrape does not fill the log with its returns."""
    caplog.set_level(logging.INFO, logger="metrics_commands")
    slow = Slow()
    collectors = CollectorSet({"slow": slow})
    with let_go(slow):
        for _ in range(3):
            slow.go.clear()
            scrape(collectors, 0.0)
            scrape(collectors, 0.0)
            slow.go.set()
            wait_until(lambda: collectors._runners["slow"]._going is None)
        told = "Collector slow has not answered for 0.0 s; the others are served."
        assert [each.getMessage() for each in caplog.records] == [told]
        caplog.clear()
        for _ in range(2):
            assert succeeded(scrape(collectors), "slow")
    assert [each.getMessage() for each in caplog.records] == ["Collector slow works again."]


def test_a_page_is_made_once_for_all_who_share_it() -> None:
    """Forty scrapes at once are encoded once for each format; who comes meanwhile waits."""
    gathered, made, go = Gathered([], complete=True), [], threading.Event()
    pages: list[object] = []

    def make() -> object:
        made.append(1)
        assert go.wait(60)
        return object()

    def take() -> None:
        pages.append(gathered.share("text", make))

    threads = [threading.Thread(target=take) for _ in range(40)]
    for thread in threads:
        thread.start()
    assert gathered.share("other", lambda: "at once") == "at once"
    go.set()
    for thread in threads:
        thread.join(60)
    assert (len(made), len(pages), len(set(map(id, pages)))) == (1, 40, 1)


@pytest.mark.parametrize("raised", [ValueError, SystemExit])
def test_a_page_that_cannot_be_made_is_told_to_each(raised: type[BaseException]) -> None:
    """An error while encoding leaves nobody waiting for ever."""
    gathered = Gathered([], complete=True)

    def make() -> object:
        raise raised("no memory")

    for _ in range(2):
        with pytest.raises(raised, match="no memory"):
            gathered.share("text", make)


def test_nothing_is_kept_once_a_result_is_dropped() -> None:
    """Neither families nor pages outlive the last scrape that uses them."""
    collectors = make_set(good=lambda: [gauge("good", 1)])
    gathered = collectors.gather()
    page = gathered.share("page", Slow)
    alive = [weakref.ref(each) for each in (gathered, gathered.families[-1], page)]
    assert all(each() is not None for each in alive)
    gc.disable()
    try:
        del gathered, page
        # The thread may need a moment to let go of its last job.
        wait_until(lambda: all(each() is None for each in alive))
    finally:
        gc.enable()


def test_ten_thousand_scrapes_leave_nothing_behind() -> None:
    """Neither threads nor objects grow in number, also where one collector hangs."""
    slow = Slow()
    bad_and_good: dict[str, Collector] = {
        "slow": slow,
        "bad": Simple(fail),
        "good": Simple(lambda: [gauge("good", 1)]),
    }
    collectors = CollectorSet(bad_and_good)

    def count() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(gc.get_objects())

    with let_go(slow):
        for _ in range(100):
            collectors.gather(seconds=0.001)
        threads, objects = count()
        for i in range(10_000):
            collectors.gather(("slow", "good") if i % 2 else None, 0.001)
        after = count()
        assert after[0] <= threads
        assert after[1] < objects + 500
        assert slow.calls == 1
