"""Each database is up or down, whatever the others are, and comes back by itself."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from django.db import connections
from prometheus_client import Metric

from metrics_commands.collectors import databases
from metrics_commands.collectors.database import DatabaseCollector
from metrics_commands.collectors.databases import borrowed_databases
from metrics_commands.collectors.registry import Surroundings, make_collectors
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import scrape, succeeded
from tests.processes import sample, wait_until

UP = "django_database_up"
SECONDS = "django_database_ping_duration_seconds"
INFO = "django_database_info"


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Wait for looks that a test has let go on."""
    yield
    wait_until(lambda: not any(each.name.startswith("database ") for each in threading.enumerate()))


def show(collector: DatabaseCollector) -> dict[str, float]:
    """Return which databases are up, however the run ends."""
    families: list[Metric] = []
    try:
        families.extend(collector.collect())
    except RuntimeError as error:
        assert "other collectors have the connection" in str(error)  # noqa: PT017
    return list_values(families, UP)


def list_values(families: Iterable[Metric], name: str) -> dict[str, float]:
    """Return the samples of one family by alias."""
    return {
        sample.labels["alias"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


@contextmanager
def borrowed(alias: str) -> Iterator[None]:
    """Let another thread have a database's connection meanwhile."""
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with borrowed_databases():
            connections[alias].ensure_connection()
            taken.set()
            assert done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert taken.wait(60)
        yield
    finally:
        done.set()
        thread.join(60)


def test_a_database_is_up_and_says_what_it_is(add_database: AddDatabase) -> None:
    """Its time to answer is measured, and its version shown; SQLite has no limit of clients."""
    add_database("main")
    samples = scrape(make_collectors(["database"], Surroundings("zoo")))
    assert sample(samples, f"zoo_{UP}", alias="main") == 1
    assert 0 < (sample(samples, f"zoo_{SECONDS}", alias="main") or 0) < 30
    version = {"alias": "main", "vendor": "sqlite", "version": sqlite3.sqlite_version}
    assert sample(samples, f"zoo_{INFO}", **version) == 1
    assert not [name for name, _ in samples if "connections" in name]


def test_a_database_that_is_down_costs_itself_and_heals(
    add_database: AddDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is 0, the collector has worked, and the log tells once that it went and came back."""
    add_database("main")
    add_database("other", "missing/other.sqlite3")
    caplog.set_level(logging.INFO, "metrics_commands")
    collector = DatabaseCollector(Surroundings())
    for _ in range(2):
        assert show(collector) == {"main": 1, "other": 0}
    (tmp_path / "missing").mkdir()
    for _ in range(2):
        assert show(collector) == {"main": 1, "other": 1}
    assert [each.getMessage() for each in caplog.records] == [
        "The database other does not answer: OperationalError: unable to open database file.",
        "The database other answers again.",
    ]


def test_down_is_an_answer(add_database: AddDatabase) -> None:
    """What is damaged is not up, has no time and no version, and the collector has worked."""
    path = add_database("main")
    path.write_bytes(b"no database" * 1000)
    samples = scrape(make_collectors(["database"], Surroundings()))
    assert sample(samples, UP, alias="main") == 0
    assert succeeded(samples, "database")
    assert [name for name, _ in samples if name in {SECONDS, INFO}] == []


def test_a_database_that_hangs_costs_itself_and_heals(
    add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does not answer in time is down, is asked by one thread only, and comes back."""
    monkeypatch.setattr("metrics_commands.collectors.looks.FAIR_SECONDS", 0.1)
    path = add_database("main")
    add_database("other")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("CREATE TABLE pets (name)")
    collector = DatabaseCollector(Surroundings(), patience=0.5)
    with closing(sqlite3.connect(path, isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        for _ in range(3):
            assert show(collector) == {"main": 0, "other": 1}
        threads = [each.name for each in threading.enumerate()]
        assert threads.count("database main") == 1
        locked.execute("ROLLBACK")
    wait_until(lambda: show(collector) == {"main": 1, "other": 1})


def test_a_database_that_other_collectors_have_is_not_down(
    add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a long query has the connection, the last answer holds; without one, nothing does."""
    monkeypatch.setattr(databases, "LONGEST_LOAN", 3600.0)
    add_database("main")
    add_database("other")
    collector = DatabaseCollector(Surroundings(), patience=0.2)
    with borrowed("main"):
        assert show(collector) == {"other": 1}
    assert wait_until(lambda: show(collector) == {"main": 1, "other": 1})
    with borrowed("main"):
        for _ in range(2):
            assert show(collector) == {"main": 1, "other": 1}


def test_a_project_without_databases_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django puts in the place of a missing database is none."""
    monkeypatch.setitem(
        connections.settings, "default", connections.configure_settings({})["default"]
    )
    assert show(DatabaseCollector(Surroundings())) == {}
