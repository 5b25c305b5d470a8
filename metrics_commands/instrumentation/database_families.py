"""The families of databases: django-prometheus's six."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from .. import worker_settings
from .families import Cells, Counter, Histogram, prefix
from .store import Slot, Store

DATABASE = ("alias", "vendor")


class DatabaseFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        name = f"{prefix()}django_db_"
        self.connections = Counter(
            f"{name}new_connections",
            "Connections opened, or taken from a pool for the first time.",
            DATABASE,
        )
        self.connection_errors = Counter(
            f"{name}new_connection_errors", "Connections that could not be had.", DATABASE
        )
        self.executed = Counter(
            f"{name}execute",
            "Statements sent, failed ones and each of executemany included.",
            DATABASE,
        )
        self.executed_many = Counter(
            f"{name}execute_many", "Statements sent by executemany.", DATABASE
        )
        self.errors = Counter(
            f"{name}errors",
            "Statements that failed, by the driver's class of exception.",
            (*DATABASE, "type"),
        )
        self.seconds = Histogram(
            f"{name}query_duration_seconds",
            "Time of execute or executemany, until the first rows can be fetched.",
            DATABASE,
            bounds=worker_settings.LATENCY_BUCKETS.resolve_or_default(),
        )


class DatabaseRow(NamedTuple):
    """Where the numbers of one database stand."""

    executed: Slot
    executed_many: Slot
    seconds: Cells
    connections: Slot
    connection_errors: Slot


@cache
def database_families() -> DatabaseFamilies:
    """Return the families, declaring them at the first call."""
    return DatabaseFamilies()


def find_database_row(store: Store, alias: str, vendor: str) -> DatabaseRow:
    """Return the numbers of one database; they are all there, at zero, from the first time on."""
    found: DatabaseRow | None = store.rows.get((DatabaseRow, alias, vendor))
    return found or _make_row(store, alias, vendor)


def _make_row(store: Store, alias: str, vendor: str) -> DatabaseRow:
    families = database_families()
    with store.lock:
        row = DatabaseRow(
            families.executed.cell(alias, vendor),
            families.executed_many.cell(alias, vendor),
            families.seconds.cell(alias, vendor),
            families.connections.cell(alias, vendor),
            families.connection_errors.cell(alias, vendor),
        )
        store.rows[DatabaseRow, alias, vendor] = row
    return row
