"""What queries and connections add to the six database families, on SQLite."""

from __future__ import annotations

import copy
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import LazySettings
from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pytest_django import DjangoDbBlocker

from metrics_commands.instrumentation import database, guard
from metrics_commands.instrumentation.database import Batch, count_query, watch_databases
from metrics_commands.instrumentation.store import current_store
from metrics_commands.instrumentation.tally import Tally, current_tally

# Family, type, and labels: what public dashboards of django-prometheus ask for.
FAMILIES: dict[str, tuple[str, set[str]]] = {
    "django_db_new_connections_total": ("counter", {"alias", "vendor"}),
    "django_db_new_connection_errors_total": ("counter", {"alias", "vendor"}),
    "django_db_execute_total": ("counter", {"alias", "vendor"}),
    "django_db_execute_many_total": ("counter", {"alias", "vendor"}),
    "django_db_errors_total": ("counter", {"alias", "vendor", "type"}),
    "django_db_query_duration_seconds": ("histogram", {"alias", "vendor"}),
}
# Each test has a database of its own name, whose numbers begin at zero.
numbers = count()


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "create_connection", connections.create_connection)
    watch_databases()


@pytest.fixture
def name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Yield the alias of a database that nobody has connected to."""
    alias = f"scratch_{next(numbers)}"
    settings = copy.deepcopy(connections.settings["default"])
    monkeypatch.setitem(connections.settings, alias, settings | {"NAME": tmp_path / "db.sqlite3"})
    with django_db_blocker.unblock():
        yield alias


@pytest.fixture
def connection(name: str) -> Iterator[BaseDatabaseWrapper]:
    """Yield a connection object as Django makes it."""
    made = connections[name]
    yield made
    made.close()
    del connections[name]


@pytest.fixture
def table(connection: BaseDatabaseWrapper) -> None:
    """Create a table of distinct numbers, in one counted statement."""
    execute(connection, "CREATE TABLE numbers (number INTEGER UNIQUE)")


def value(alias: str, sample: str, **labels: str) -> float | None:
    """Return one number of a database, None where there is no such series."""
    every = {"alias": alias, "vendor": "sqlite", **labels}
    return REGISTRY.get_sample_value(f"django_db_{sample}", every)


def execute(connection: BaseDatabaseWrapper, sql: str, params: Any = None) -> list[Any]:
    """Run one query and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def insert_many(connection: BaseDatabaseWrapper, params: Any) -> None:
    """Insert rows by executemany."""
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO numbers VALUES (%s)", params)


def stored(connection: BaseDatabaseWrapper) -> list[int]:
    """Return what the table holds, by a query that is counted as any."""
    return [row[0] for row in execute(connection, "SELECT number FROM numbers ORDER BY number")]


def test_names_types_and_labels_are_those_that_dashboards_ask_for(
    connection: BaseDatabaseWrapper,
) -> None:
    """Dashboards made for django-prometheus find each family, and nothing else in its place."""
    with pytest.raises(DatabaseError):
        execute(connection, "no SQL")
    found: dict[str, tuple[str, set[str]]] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            series = sample.name.removesuffix("_count")
            ours = series.startswith("django_db_pool_") or series.endswith(("_bucket", "_sum"))
            if (
                series.startswith("django_db_")
                and not ours
                and not series.endswith(("_bucket", "_sum"))
            ):
                found[series] = (family.type, set(sample.labels))
    assert found == FAMILIES


def test_each_query_is_counted_and_timed(connection: BaseDatabaseWrapper) -> None:
    """A query is one statement and one duration, whatever else the database did to connect."""
    for _ in range(3):
        assert execute(connection, "SELECT %s", [7]) == [(7,)]
    alias = connection.alias
    assert value(alias, "execute_total") == 3
    assert value(alias, "query_duration_seconds_count") == 3
    assert 0 < (value(alias, "query_duration_seconds_sum") or 0) < 3
    assert value(alias, "execute_many_total") == 0
    assert value(alias, "errors_total", type="OperationalError") is None


def test_a_duration_is_what_the_database_took(connection: BaseDatabaseWrapper) -> None:
    """Slow queries are in the buckets of slow ones: the rows must be there before it ends."""
    slow = (
        "WITH RECURSIVE steps(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps LIMIT 300000) "
        "SELECT sum(n) FROM steps"
    )
    execute(connection, slow)
    assert value(connection.alias, "query_duration_seconds_bucket", le="0.01") == 0
    assert value(connection.alias, "query_duration_seconds_count") == 1


def test_a_connection_is_counted_when_it_is_opened(connection: BaseDatabaseWrapper) -> None:
    """Making a connection object or asking twice opens nothing; reconnecting does."""
    alias = connection.alias
    assert value(alias, "new_connections_total") is None
    for expected in (1, 2):
        connection.ensure_connection()
        connection.ensure_connection()
        assert value(alias, "new_connections_total") == expected
        connection.close()
    execute(connection, "SELECT 1")
    assert value(alias, "new_connections_total") == 3
    assert value(alias, "execute_total") == 1
    assert value(alias, "new_connection_errors_total") == 0


def test_a_connection_that_fails_is_an_error_and_no_new_connection(
    connection: BaseDatabaseWrapper, tmp_path: Path
) -> None:
    """An unreachable database is seen, and Django's own error is what the caller gets."""
    connection.settings_dict["NAME"] = tmp_path / "missing" / "db.sqlite3"
    with pytest.raises(DatabaseError) as caught:
        connection.ensure_connection()
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert value(connection.alias, "new_connection_errors_total") == 1
    assert value(connection.alias, "new_connections_total") == 0


@pytest.mark.usefixtures("table")
def test_a_failed_query_is_an_error_by_its_class(connection: BaseDatabaseWrapper) -> None:
    """A failure is a statement that was sent, took time, and has the driver's class."""
    insert_many(connection, [[1]])
    with pytest.raises(IntegrityError):
        execute(connection, "INSERT INTO numbers VALUES (1)")
    with pytest.raises(KeyError):
        execute(connection, "SELECT %(missing)s", {"given": 1})
    alias = connection.alias
    assert value(alias, "errors_total", type="IntegrityError") == 1
    assert value(alias, "errors_total", type="KeyError") == 1
    assert value(alias, "execute_total") == 4
    assert value(alias, "query_duration_seconds_count") == 4


def test_what_django_refuses_was_never_sent(connection: BaseDatabaseWrapper) -> None:
    """Queries in a broken transaction do not reach the database, and are not counted."""
    with transaction.atomic(connection.alias):
        transaction.set_rollback(True, connection.alias)
        before = value(connection.alias, "execute_total")
        with pytest.raises(transaction.TransactionManagementError):
            execute(connection, "SELECT 1")
    assert before == 1, "BEGIN, which Django sends to SQLite as a query"
    assert value(connection.alias, "execute_total") == 1
    assert value(connection.alias, "errors_total", type="TransactionManagementError") is None


class Reiterable:
    """Parameters without a length, which are no iterator either."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[0], [1], [2]])


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "make",
    [
        lambda: [[0], [1], [2]],
        lambda: ((0,), (1,), (2,)),
        lambda: ([each] for each in range(3)),
        lambda: iter([[0], [1], [2]]),
        Reiterable,
    ],
    ids=["list", "tuple", "generator", "iterator", "reiterable"],
)
def test_executemany_counts_each_statement(
    connection: BaseDatabaseWrapper, make: Callable[[], Iterable[Any]]
) -> None:
    """Bulk statements count by their parameters, and any kind of parameters arrives whole."""
    insert_many(connection, make())
    alias = connection.alias
    assert value(alias, "execute_many_total") == 3
    assert value(alias, "execute_total") == 1 + 3
    assert value(alias, "query_duration_seconds_count") == 1 + 1
    assert stored(connection) == [0, 1, 2]


@pytest.mark.usefixtures("table")
def test_a_generator_that_fails_fails_as_without_metrics(connection: BaseDatabaseWrapper) -> None:
    """An error in the caller's own generator arrives as it is; what was taken is counted."""

    def fails() -> Iterator[list[int]]:
        yield [1]
        yield [2]
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        insert_many(connection, fails())
    assert value(connection.alias, "execute_many_total") == 2
    assert value(connection.alias, "errors_total", type="LookupError") == 1


@given(st.lists(st.integers()), st.integers(0, 10), st.booleans())
def test_a_driver_takes_what_it_would_have_taken(
    params: list[int], most: int, streams: bool
) -> None:
    """Counting takes nothing ahead, loses nothing, and keeps the order."""
    given_params = iter(params) if streams else params
    batch = Batch(given_params)
    assert list(islice(batch.parameters, most)) == params[:most]
    if streams:
        assert batch.size == len(params[:most])
        assert list(given_params) == params[most:]
    else:
        assert batch.parameters is params
        assert batch.size == len(params)


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_is_no_parameters_reaches_the_driver_as_it_is(nothing: Any) -> None:
    """Drivers answer for odd parameters themselves, some of them without an error."""
    batch = Batch(nothing)
    assert batch.parameters is nothing
    assert batch.size == 0


def test_wrappers_of_users_come_and_go(connection: BaseDatabaseWrapper) -> None:
    """Other execute wrappers run once each, inside of ours, and leave ours in its place."""
    calls: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        calls.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note), connection.execute_wrapper(note):
        assert connection.execute_wrappers == [count_query, note, note]
        execute(connection, "SELECT 1")
    connection.execute_wrappers.append(note)
    execute(connection, "SELECT 2")
    assert calls == ["SELECT 1", "SELECT 1", "SELECT 2"]
    assert connection.execute_wrappers == [count_query, note]
    assert value(connection.alias, "execute_total") == 2


def test_queries_that_a_wrapper_blocks_raise_what_it_raises(
    connection: BaseDatabaseWrapper,
) -> None:
    """Tests that forbid queries with a wrapper of their own work as before."""

    def block(*args: Any) -> None:
        raise RuntimeError("no queries here")

    with connection.execute_wrapper(block), pytest.raises(RuntimeError, match="no queries here"):
        execute(connection, "SELECT 1")
    assert execute(connection, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("debug", [False, True])
def test_captured_queries_are_the_same(
    connection: BaseDatabaseWrapper,
    debug: bool,
    settings: LazySettings,
    django_assert_num_queries: Any,
) -> None:
    """assertNumQueries, CaptureQueriesContext and DEBUG see what they saw, and we count once."""
    settings.DEBUG = debug
    execute(connection, "CREATE TABLE numbers (number INTEGER)")
    with (
        django_assert_num_queries(2, connection=connection),
        CaptureQueriesContext(connection) as captured,
    ):
        execute(connection, "SELECT %s", [1])
        insert_many(connection, ([each] for each in range(3)))
    assert [each["sql"] for each in captured] == [
        "SELECT 1",
        "? times: INSERT INTO numbers VALUES (%s)",
    ]
    assert value(connection.alias, "execute_total") == 1 + 1 + 3


@pytest.mark.django_db
def test_the_test_database_is_counted_once(django_assert_num_queries: Any) -> None:
    """Watching again, as Django's test databases and clones would, never counts twice."""
    watch_databases()
    default = connections["default"]
    before = value("default", "execute_total") or 0
    with django_assert_num_queries(1):
        execute(default, "SELECT 1")
    assert value("default", "execute_total") == before + 1
    assert default.execute_wrappers.count(count_query) == 1


def test_connections_made_earlier_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django itself makes a connection while it loads models, long before we can watch."""
    monkeypatch.delattr(connections, "create_connection")
    early = connections[name]
    try:
        execute(early, "SELECT 1")
        assert value(name, "execute_total") is None
        with early.execute_wrapper(lambda execute, *rest: execute(*rest)):
            watch_databases()
            execute(early, "SELECT 1")
        execute(early, "SELECT 1")
        assert value(name, "execute_total") == 2
        early.close()
        early.ensure_connection()
        assert value(name, "new_connections_total") == 1
    finally:
        early.close()
        del connections[name]


def test_copies_are_counted(connection: BaseDatabaseWrapper) -> None:
    """A copied connection, and a copy's copy, are connections of the same database."""
    execute(connection, "SELECT 1")
    for copied in (connection.copy(), connection.copy().copy()):
        execute(copied, "SELECT 1")
        copied.close()
    assert value(connection.alias, "execute_total") == 3
    assert value(connection.alias, "new_connections_total") == 3
    renamed = connection.copy(f"{connection.alias}_renamed")
    execute(renamed, "SELECT 1")
    renamed.close()
    assert value(connection.alias, "execute_total") == 3
    assert value(renamed.alias, "execute_total") == 1


def test_all_threads_count_together(name: str) -> None:
    """Each thread has its own connection to a database, and no count is lost between them."""

    def work(_: int) -> None:
        for _ in range(200):
            execute(connections[name], "SELECT 1")
        connections[name].close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert value(name, "execute_total") == 800
    assert value(name, "query_duration_seconds_count") == 800
    assert value(name, "new_connections_total") == 4


def test_a_request_knows_its_queries(connection: BaseDatabaseWrapper) -> None:
    """Queries, failed ones too, are on the bill of the request; a batch is one of them."""
    tally = Tally(current_store(), None)
    token = current_tally.set(tally)
    try:
        execute(connection, "CREATE TABLE numbers (number INTEGER)")
        insert_many(connection, [[1], [2]])
        with pytest.raises(DatabaseError):
            execute(connection, "no SQL")
    finally:
        current_tally.reset(token)
    execute(connection, "SELECT 1")
    assert tally.queries == 3
    total = value(connection.alias, "query_duration_seconds_sum") or 0
    assert 0 < tally.seconds < total


def test_a_request_knows_the_queries_of_its_threads(name: str) -> None:
    """Async code asks the database in a thread, and its request gets the bill all the same."""
    tally = Tally(current_store(), None)

    def ask() -> None:
        execute(connections[name], "SELECT 1")
        connections[name].close()

    async def answer() -> None:
        current_tally.set(tally)
        await sync_to_async(ask)()
        await sync_to_async(ask)()

    async_to_sync(answer)()
    assert tally.queries == 2
    assert value(name, "execute_total") == 2


def test_a_failure_of_metrics_never_reaches_the_application(
    connection: BaseDatabaseWrapper,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Queries, errors and connections are the same when nothing can be counted; it is logged."""

    def broken(*args: object) -> None:
        raise RuntimeError("no numbers")

    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(database, "find_database_row", broken)
    monkeypatch.setattr(database, "database_families", broken)
    with caplog.at_level(logging.ERROR, logger="metrics_commands"):
        for _ in range(2):
            assert execute(connection, "SELECT 1") == [(1,)]
            with pytest.raises(DatabaseError, match="syntax error"):
                execute(connection, "no SQL")
    lost = ("connections", "queries", "query errors")
    assert [record.args for record in caplog.records] == [(each,) for each in lost]
