"""Statements to a database, and what they add to its numbers."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from prometheus_client import REGISTRY


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
