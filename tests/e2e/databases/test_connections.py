"""Collectors and a real PostgreSQL: one connection, limits, and what collectors leave behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from metrics_commands.collectors import databases, sessions
from metrics_commands.collectors.database import DatabaseCollector
from metrics_commands.collectors.databases import kept_connections
from metrics_commands.collectors.models import count_rows
from metrics_commands.collectors.registry import Surroundings
from project.shop.models import Product
from tests.collectors.gathers import make_set, scrape, succeeded
from tests.processes import sample, wait_until

from ..asked import ALIAS, ask, leave_atomic, leave_autocommit, leave_begun, run, show
from ..postgresql import USER
from .watching import OURS, look

CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


def test_twenty_collectors_have_one_connection(
    configure: Callable[..., None], watcher: psycopg.Connection
) -> None:
    """Never more than one at a time, the same from scrape to scrape, and none at the end."""
    backends: set[int] = set()

    def count() -> float:
        backends.add(ask("SELECT pg_backend_pid()"))
        return float(ask(f"SELECT ({OURS}) FROM pg_sleep(0.01)"))

    names = [f"number_{number}" for number in range(20)]
    collectors = make_set(**{name: show(name, count) for name in names})
    with kept_connections():
        for _ in range(3):
            samples = scrape(collectors)
            assert [sample(samples, name) for name in names] == [1.0] * 20
        assert len(backends) == 1
        assert look(watcher, OURS) == 1
    assert wait_until(lambda: look(watcher, OURS) == 0)
    # Where nobody keeps it, as in a web process, it goes with the run.
    assert run(lambda: ask("SELECT 1"))
    assert wait_until(lambda: look(watcher, OURS) == 0)


def test_the_server_ends_a_query_that_sleeps(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query fails by the server's own clock; the connection is good for the next one."""
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 1)
    problems: list[str] = []

    def sleep() -> float:
        try:
            return float(ask("SELECT 1 FROM pg_sleep(60)"))
        except Exception as error:
            problems.append(str(error))
            raise

    with kept_connections():
        assert not succeeded(scrape(make_set(sleeps=show("sleeps", sleep)), 20.0), "sleeps")
        assert run(lambda: ask("SELECT 1"))
    assert "statement timeout" in problems[0]


def test_a_collector_may_take_more_time_for_one_query(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a transaction the limit can be another one, which ends with it."""
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 1)

    def wait() -> bool:
        with transaction.atomic(ALIAS):
            connections[ALIAS].cursor().execute("SET LOCAL statement_timeout = '30s'")
            assert ask("SELECT 1 FROM pg_sleep(1.2)") == 1
        return bool(ask("SHOW statement_timeout") == "1s")

    assert run(wait)


def test_queries_that_hang_cost_the_others_no_scrape(
    configure: Callable[..., None], watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eighty collectors that share a connection ten hang, each time; the others are served.

    All times are two fifths of the real ones.
    """
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 2)
    monkeypatch.setattr(databases, "QUICK_SECONDS", 0.2)
    seconds = [60]

    def hang() -> float:
        connections[ALIAS].ensure_connection()
        return float(ask(f"SELECT 1 FROM pg_sleep({seconds[0]})"))

    hanging = {f"hanging_{i}": show(f"hanging_{i}", hang) for i in range(10)}
    good = {f"good_{i}": show(f"good_{i}", lambda: ask(f"SELECT ({OURS})")) for i in range(70)}
    # The worst order there is.
    collectors = make_set(**hanging, **good)
    with kept_connections():
        scrape(collectors, 3.8)
        try:
            for _ in range(2):
                samples = scrape(collectors, 3.8)
                assert [sample(samples, name) for name in good] == [1.0] * 70
                assert not any(succeeded(samples, name) for name in hanging)
                assert look(watcher, OURS) == 1
        finally:
            seconds[0] = 0
            names = (*hanging, *good)
            wait_until(lambda: all(succeeded(scrape(collectors, 3.8), name) for name in names))


def leave_broken() -> None:
    """Leave a transaction that accepts no query."""
    leave_atomic()
    with suppress(Exception):
        ask("SELECT 1 / 0")


@pytest.mark.parametrize("leave", [leave_atomic, leave_autocommit, leave_begun, leave_broken])
def test_what_a_collector_leaves_open_is_rolled_back(
    configure: Callable[..., None], watcher: psycopg.Connection, leave: Callable[[], None]
) -> None:
    """The next one finds no transaction, and the server none that waits."""

    def spoil() -> bool:
        leave()
        with suppress(Exception):
            ask("SELECT pg_advisory_lock_shared(1)")
        return True

    open_transactions = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
    with kept_connections():
        assert run(spoil)
        # A server learns of a client's end a little later.
        assert wait_until(lambda: look(watcher, open_transactions) == 0)
        assert run(lambda: connections[ALIAS].get_autocommit() and ask("SELECT 1"))
        assert wait_until(lambda: look(watcher, OURS) == 1)


def test_nothing_is_written_and_own_options_stay(configure: Callable[..., None]) -> None:
    """What the project asks of its connections holds here too, but for the exporter's limits."""
    own = {"options": "-c search_path=pg_catalog -c statement_timeout=0", "application_name": "web"}
    configure(OPTIONS=own, CONN_MAX_AGE=0, AUTOCOMMIT=False)
    shown: list[Any] = []

    def read() -> bool:
        names = (
            "search_path", "application_name", "statement_timeout", "default_transaction_read_only"
        )  # fmt: skip
        shown.extend(ask(f"SHOW {name}") for name in names)
        return bool(connections[ALIAS].get_autocommit())

    assert run(read)
    assert shown == ["pg_catalog", "runmetrics", "5s", "on"]
    assert not run(lambda: ask("CREATE TABLE pets (name text)"))
    assert connections.settings[ALIAS]["OPTIONS"] == own


@pytest.mark.parametrize("pool", [True, {"min_size": 3}])
def test_a_pool_of_the_project_is_not_used(
    configure: Callable[..., None], watcher: psycopg.Connection, pool: object
) -> None:
    """The exporter has one connection also where each worker has several."""
    configure(OPTIONS={"pool": pool})
    with kept_connections():
        assert run(lambda: ask("SELECT 1"))
        assert look(watcher, OURS) == 1


def test_connections_are_shown_against_their_limit(
    configure: Callable[..., None], watcher: psycopg.Connection
) -> None:
    """Clients are counted, the watcher and the exporter itself, whoever the exporter's user is."""
    watcher.execute("DROP ROLE IF EXISTS stranger")
    watcher.execute("CREATE ROLE stranger LOGIN")
    try:
        for user in (USER, "stranger"):
            configure(USER=user)
            # A server learns of the end of those before us a little later.
            wait_until(lambda: look(watcher, CLIENTS) == 1)
            families = {each.name: each for each in DatabaseCollector(Surroundings()).collect()}
            values = {
                name: [sample.value for sample in family.samples]
                for name, family in families.items()
            }
            assert values["django_database_up"] == [1]
            assert values["django_database_connections"] == [2]
            assert values["django_database_max_connections"] == [20]
            [version] = families["django_database_info"].samples
            assert version.labels["version"] == look(watcher, "SHOW server_version").split()[0]
    finally:
        watcher.execute("DROP ROLE stranger")


def test_large_tables_are_estimated(
    configure: Callable[..., None], watcher: psycopg.Connection
) -> None:
    """From a size on PostgreSQL's own estimate is shown, below it the count."""
    table = Product._meta.db_table
    watcher.execute(f"CREATE TABLE {table} (id int)".encode())
    watcher.execute(f"INSERT INTO {table} SELECT generate_series(1, 100)".encode())
    try:
        counted: list[float] = []

        def count() -> bool:
            counted.extend(count_rows(Product, ALIAS, most_exact) for most_exact in (100, 101))
            return True

        assert run(count)
        watcher.execute(f"ANALYZE {table}".encode())
        watcher.execute(f"INSERT INTO {table} VALUES (101)".encode())
        assert run(count)
        assert counted == [100, 100, 100, 101]
    finally:
        watcher.execute(f"DROP TABLE {table}".encode())
