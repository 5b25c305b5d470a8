"""Applications that watch queries themselves, and those of a request, are not disturbed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import LazySettings
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from metrics_commands.instrumentation import database, guard
from metrics_commands.instrumentation.database import count_query
from metrics_commands.instrumentation.store import current_store
from metrics_commands.instrumentation.tally import Tally, current_tally

from .statements import execute, insert_many, value


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
