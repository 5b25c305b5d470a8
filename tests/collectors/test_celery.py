"""The lengths of Celery's queues in a real Redis, and the workers that value files tell of."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, _state  # type: ignore[import-untyped]
from redis import Redis

from metrics_commands.collectors.celery import MOST_QUEUES, CeleryCollector
from metrics_commands.collectors.registry import CollectorSet, Surroundings
from metrics_commands.multiprocess.reader import DirectoryReader
from tests.e2e.redis_server import redis_server
from tests.multiprocess.files import write_series
from tests.processes import Samples, Started, free_port, sample, wait_until

from .gathers import scrape, succeeded

UP = "celery_worker_up"
LENGTH = "celery_queue_length"
WORKERS = "celery_active_worker_count"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield the app that Celery has made the default, whose broker is down."""
    made = Celery("tests", broker=f"redis://127.0.0.1:{free_port()}/0", fixups=[])
    made.conf.task_default_queue = "main"
    monkeypatch.setattr(_state, "default_app", made)
    yield made
    made.close()


@pytest.fixture
def broker(app: Any, tmp_path: Path) -> Iterator[Started]:
    """Yield a Redis that is the app's broker."""
    with redis_server(tmp_path) as (server, port):
        app.conf.broker_url = app.conf.broker_read_url = f"redis://127.0.0.1:{port}/5"
        yield server


def make_set(directory: Path | None = None) -> CollectorSet:
    """Make the collector, which runs at every scrape."""
    files = DirectoryReader(directory) if directory else None
    collector = CeleryCollector(Surroundings(value_files=files))
    collector.interval = 0.0
    return CollectorSet({"celery": collector})


def lengths(page: Samples) -> dict[str, float]:
    """Return the lengths by queue."""
    return {
        dict(labels)["queue_name"]: value
        for (name, labels), value in page.items()
        if name == LENGTH
    }


@pytest.mark.parametrize("prefix", ["", "pre:"])
def test_all_priorities_of_a_queue_are_counted(app: Any, broker: Started, prefix: str) -> None:
    """Redis has a list for each step of priority, under whatever prefix the project gives."""
    app.conf.broker_transport_options = {"global_keyprefix": prefix}
    for priority in range(10):
        app.send_task("task", priority=priority)
    assert lengths(scrape(make_set())) == {"main": 10}


def test_queues_are_those_of_app_senders_and_workers(
    app: Any, broker: Started, tmp_path: Path
) -> None:
    """Where a queue is named only by those who use it, value files have its name."""
    write_series(tmp_path / "counter_1.db", 1, "celery_task_sent", queue_name="sent")
    write_series(tmp_path / "gauge_livesum_1.db", 1, WORKERS, queue_name="taken")
    app.send_task("task", queue="sent")
    page = scrape(make_set(tmp_path))
    assert lengths(page) == {"main": 0, "sent": 1, "taken": 0}
    assert succeeded(page, "celery")


def test_too_many_queues_are_told_once(
    app: Any, broker: Started, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis is asked of so many at most, and the log says that there are more."""
    names = ["main", *(f"queue_{number:03}" for number in range(1, MOST_QUEUES))]
    for name in names[1:]:
        app.amqp.queues.add(name)
    collectors = make_set()
    assert list(lengths(scrape(collectors))) == names
    assert not caplog.records
    app.amqp.queues.add("queue_x")
    for _ in range(3):
        assert list(lengths(scrape(collectors))) == names
    (record,) = caplog.records
    assert record.getMessage() == (
        "Celery has 101 queues; lengths are shown of the first 100 by name."
    )


@pytest.mark.parametrize(("counts", "up"), [([], 0), ([0], 0), ([1, 2], 1)])
def test_one_worker_is_enough_to_be_up(
    app: Any, broker: Started, tmp_path: Path, counts: list[int], up: float
) -> None:
    """The family is 0 or 1, and there when no worker is, so that an alert on it can fire."""
    for worker, number in enumerate(counts):
        path = tmp_path / f"gauge_livesum_{worker}.db"
        write_series(path, number, WORKERS, queue_name=f"queue_{worker}")
    assert sample(scrape(make_set(tmp_path)), UP) == up


def test_a_broker_that_is_down_costs_lengths_only(app: Any, tmp_path: Path) -> None:
    """Success is 0, whether a worker is up is known nevertheless, and it heals by itself."""
    collectors = make_set(tmp_path)
    page = scrape(collectors)
    assert not succeeded(page, "celery")
    assert (sample(page, UP), lengths(page)) == (0, {})
    with redis_server(tmp_path) as (_, port):
        app.conf.broker_read_url = f"redis://127.0.0.1:{port}/5"
        page = scrape(collectors)
        assert succeeded(page, "celery")
        assert lengths(page) == {"main": 0}


def test_a_broker_that_hangs_fails_in_time(app: Any, broker: Started) -> None:
    """A scrape waits for no more than the collector's timeout, and the next ones work again."""
    collectors = make_set()
    broker.popen.send_signal(signal.SIGSTOP)
    assert not succeeded(scrape(collectors), "celery")
    broker.popen.send_signal(signal.SIGCONT)
    wait_until(lambda: succeeded(scrape(collectors), "celery"))


def test_nothing_stays_in_the_broker(app: Any, broker: Started) -> None:
    """Between two scrapes it has no connection of ours, and never a key."""
    collectors = make_set()
    for _ in range(3):
        assert succeeded(scrape(collectors), "celery")
    with Redis.from_url(app.conf.broker_read_url) as client:
        assert client.keys() == []
        wait_until(lambda: client.info("clients")["connected_clients"] == 1)


def test_another_broker_has_no_lengths(app: Any, tmp_path: Path) -> None:
    """Only Redis is asked; that others are not is no failure."""
    app.conf.broker_read_url = "memory://"
    page = scrape(make_set(tmp_path))
    assert succeeded(page, "celery")
    assert (sample(page, UP), lengths(page)) == (0, {})


def test_a_process_without_celery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project that does not use it has no family of it, and no failure."""
    monkeypatch.delitem(sys.modules, "celery._state")
    page = scrape(make_set(tmp_path))
    assert succeeded(page, "celery")
    assert [name for name, _ in page if name.startswith("celery_")] == []
