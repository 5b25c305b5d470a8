"""What connections add to the database families, whoever makes them."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from metrics_commands.instrumentation.database import count_query, watch_databases

from .statements import execute, value


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
