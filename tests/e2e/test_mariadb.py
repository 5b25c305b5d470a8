"""Collectors and a real MariaDB: its limits, one connection, and a server that is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from prometheus_client.samples import Sample
from pymysql.connections import Connection
from pytest_django import DjangoDbBlocker

from metrics_commands.collectors import sessions
from metrics_commands.collectors.database import DatabaseCollector
from metrics_commands.collectors.databases import kept_connections
from metrics_commands.collectors.registry import Surroundings
from tests.collectors.gathers import Scrapes, make_set, scrape, succeeded
from tests.processes import clean_environment, exporter, run_manage, sample, wait_until
from tests.processes import scrape as scrape_url

from .asked import ALIAS, ask, configuring, leave_atomic, leave_autocommit, leave_begun, run, show
from .mariadb import USER, Server, mariadb

OURS = f"SELECT count(*) FROM information_schema.processlist WHERE user = '{USER}'"
OUR_QUERY = f"{OURS} AND info LIKE 'SELECT sleep%'"
LIMITS = "SELECT concat_ws(' ', @@max_statement_time, @@tx_read_only, @@autocommit)"
LIMITED = f"{sessions.QUERY_SECONDS:.6f} ON ON"
TIMED_OUT = 1969
READ_ONLY = 1792
SETTINGS = """
from project.settings import *
import json, os, pymysql

pymysql.install_as_MySQLdb()
DATABASES = {"default": json.loads(os.environ["TEST_DATABASE"])}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server that runs."""
    with mariadb() as running:
        yield running


@pytest.fixture
def configure(
    server: Server, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[..., None]]:
    """Yield a function that changes the database's settings."""
    with django_db_blocker.unblock(), configuring(server.settings, monkeypatch) as change:
        yield change


@pytest.fixture
def watcher(server: Server) -> Iterator[Connection[Any]]:
    """Yield a connection that looks on."""
    with server.look_on() as connection:
        yield connection


@pytest.fixture
def table(watcher: Connection[Any]) -> Iterator[str]:
    """Lend a table of one row."""
    look(watcher, "CREATE TABLE shop.pets (name text) AS SELECT 'Minka' AS name")
    yield "shop.pets"
    look(watcher, "DROP TABLE shop.pets")


def look(watcher: Connection[Any], sql: str) -> Any:
    """Return the one value that somebody else's query finds, if any."""
    with watcher.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetchone()
        return found[0] if found else None


def collect(collector: DatabaseCollector) -> dict[str, list[Sample]]:
    """Return the samples of each family."""
    return {each.name: each.samples for each in collector.collect()}


def is_up(collector: DatabaseCollector) -> float:
    """Return whether the database is shown as one that answers."""
    return collect(collector)["django_database_up"][0].value


def test_the_server_ends_a_query_that_sleeps(configure: Callable[..., None]) -> None:
    """The query fails by the server's own clock; the connection is good for the next one."""
    backends: list[int] = []
    problems: list[Any] = []

    def sleep() -> float:
        backends.append(ask("SELECT connection_id()"))
        try:
            return float(ask("SELECT sleep(60)"))
        except Exception as error:
            problems.append(error.args[0])
            raise

    with kept_connections():
        assert not succeeded(scrape(make_set(sleeps=show("sleeps", sleep)), 40.0), "sleeps")
        assert run(lambda: ask("SELECT connection_id()") == backends[0])
    assert problems == [TIMED_OUT]


def test_twenty_collectors_have_one_connection(
    configure: Callable[..., None], watcher: Connection[Any]
) -> None:
    """Never more than one at a time, the same from scrape to scrape, and none at the end."""
    backends: set[int] = set()

    def count() -> float:
        backends.add(ask("SELECT connection_id()"))
        # A user may see its own sessions.
        return float(ask(OURS))

    names = [f"number_{number}" for number in range(20)]
    collectors = make_set(**{name: show(name, count) for name in names})
    with kept_connections():
        for _ in range(3):
            samples = scrape(collectors)
            assert [sample(samples, name) for name in names] == [1.0] * 20
        assert len(backends) == 1
        assert look(watcher, OURS) == 1
    assert wait_until(lambda: look(watcher, OURS) == 0)


def test_nothing_is_written_and_own_options_stay(
    configure: Callable[..., None],
    watcher: Connection[Any],
    table: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the project asks of its connections holds here too, but for the exporter's limits."""
    own = {"init_command": "SET SESSION sql_mode = 'ANSI_QUOTES', max_statement_time = 0"}
    configure(OPTIONS=own, CONN_MAX_AGE=0, AUTOCOMMIT=False)
    problems: list[Any] = []

    def write(statement: str) -> bool:
        try:
            ask(statement)
        except Exception as error:
            problems.append(error.args[0])
            raise
        return True

    def write_atomically() -> bool:
        with transaction.atomic(ALIAS):
            return write(f"DELETE FROM {table}")

    assert run(lambda: [ask(LIMITS), ask("SELECT @@sql_mode")] == [LIMITED, "ANSI_QUOTES"])
    statements = (f"INSERT INTO {table} VALUES ('Rex')", f"DROP TABLE {table}")
    for statement in (*statements, "CREATE TABLE toys (name text)"):
        assert not run(partial(write, statement))
    assert not run(write_atomically)
    assert problems == [READ_ONLY] * 4
    assert look(watcher, f"SELECT group_concat(name) FROM {table}") == "Minka"
    assert connections.settings[ALIAS]["OPTIONS"] == own
    assert "without time limits" not in caplog.text


@pytest.mark.parametrize("leave", [leave_atomic, leave_autocommit, leave_begun])
def test_what_a_collector_leaves_open_is_rolled_back(
    configure: Callable[..., None], watcher: Connection[Any], table: str, leave: Callable[[], None]
) -> None:
    """The next one finds no transaction, and the server no lock that would hold others up."""

    def spoil() -> bool:
        leave()
        ask(f"SELECT count(*) FROM {table}")
        return bool(ask("SELECT @@in_transaction"))

    with kept_connections():
        assert run(spoil)
        assert run(lambda: not ask("SELECT @@in_transaction"))
        assert run(lambda: ask(LIMITS) == LIMITED)
        assert wait_until(lambda: look(watcher, OURS) == 1)
        # A transaction that has read the table would be waited for.
        look(watcher, f"ALTER TABLE {table} WAIT 10 ADD COLUMN age int")


def test_the_server_is_shown(configure: Callable[..., None], watcher: Connection[Any]) -> None:
    """It is up, with its version; how many clients it has is asked of PostgreSQL alone."""
    families = collect(DatabaseCollector(Surroundings()))
    assert [each.value for each in families["django_database_up"]] == [1]
    assert [each.value > 0 for each in families["django_database_ping_duration_seconds"]] == [True]
    [info] = families["django_database_info"]
    version = look(watcher, "SELECT version()").split("-")[0]
    assert info.labels == {"alias": ALIAS, "vendor": "mysql", "version": version}
    assert families["django_database_connections"] == []
    assert families["django_database_max_connections"] == []


def test_a_server_that_is_killed_in_the_middle_heals(
    configure: Callable[..., None], server: Server
) -> None:
    """The page is there without what was asked for; the next connection has its limits again."""
    # The first query lasts until the server dies, and the later ones do not wait.
    seconds = iter([60])
    collectors = make_set(
        asks=show("asks", lambda: ask(f"SELECT sleep({next(seconds, 0)})")),
        plain=show("plain", lambda: 1),
    )
    database = DatabaseCollector(Surroundings())
    with kept_connections():
        assert is_up(database) == 1
        scrapes = Scrapes(collectors)
        scrapes.begin("asks")
        with server.look_on() as watcher:
            wait_until(lambda: look(watcher, OUR_QUERY) == 1)
            server.stop(signal.SIGKILL)
        try:
            [gathered] = scrapes.end()
            assert gathered.complete
            samples = scrape(collectors)
            assert sample(samples, "plain") == 1
            assert not succeeded(samples, "asks")
            assert is_up(database) == 0
        finally:
            server.start()
        assert is_up(database) == 1
        assert run(lambda: ask(LIMITS) == LIMITED)
        assert succeeded(scrape(collectors), "asks")


def test_an_exporter_has_one_connection_and_another_when_it_is_lost(
    tmp_path: Path, server: Server
) -> None:
    """Version, migrations and rows are on the page; a server that was killed is asked again."""
    (tmp_path / "served_by_mariadb.py").write_text(SETTINGS)
    environment = clean_environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="served_by_mariadb",
        PYTHONPATH=str(tmp_path),
        TEST_DATABASE=json.dumps(server.settings()),
        PROMETHEUS_METRICS_COUNTED_MODELS="shop.Product",
    )
    migrated = run_manage(environment, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    with exporter(environment) as (process, url):
        samples = scrape_url(url)
        assert [
            sample(samples, "django_database_up", alias="default"),
            sample(samples, "django_migrations_unapplied_total", connection="default"),
            sample(samples, "django_model_rows", model="shop.Product"),
        ] == [1, 0, 0]
        with server.look_on() as watcher:
            assert look(watcher, OURS) == 1
        server.stop(signal.SIGKILL)
        server.start()
        with server.look_on() as watcher:
            wait_until(lambda: scrape_url(url) and look(watcher, OURS) == 1)
        wait_until(lambda: sample(scrape_url(url), "django_database_up", alias="default"))
        assert "without time limits" not in process.output
