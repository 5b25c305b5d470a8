"""Count what psycopg's pools have, whenever a connection is taken or given back.

A pool also grows and shrinks by itself; that is seen at the next turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from .families import Counter, Gauge, prefix
from .guard import report_loss
from .store import Slot, Store, current_store

TIMEOUT = "PoolTimeout"


class PoolFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        name = f"{prefix()}django_db_pool_"
        self.size = Gauge(
            f"{name}connections", "Connections in the pools, in use or not.", ["alias"]
        )
        self.available = Gauge(
            f"{name}available_connections", "Connections in the pools that nobody uses.", ["alias"]
        )
        self.most = Gauge(
            f"{name}max_connections", "Connections that the pools may have.", ["alias"]
        )
        self.waiting = Gauge(
            f"{name}waiting_requests", "Threads that wait for a connection of a pool.", ["alias"]
        )
        self.timeouts = Counter(
            f"{name}timeouts", "Waits for a connection of a pool that were in vain.", ["alias"]
        )


class PoolRow(NamedTuple):
    """Where the numbers of one alias's pool stand."""

    size: Slot
    available: Slot
    most: Slot
    waiting: Slot
    timeouts: Slot


@cache
def pool_families() -> PoolFamilies:
    """Return the families, declaring them at the first call."""
    return PoolFamilies()


def find_pool_row(store: Store, alias: str) -> PoolRow:
    """Return the numbers of one pool; they are all there, at zero, from the first time on."""
    found: PoolRow | None = store.rows.get((PoolRow, alias))
    return found or _make_row(store, alias)


def _make_row(store: Store, alias: str) -> PoolRow:
    families = pool_families()
    with store.lock:
        row = PoolRow(
            families.size.cell(alias),
            families.available.cell(alias),
            families.most.cell(alias),
            families.waiting.cell(alias),
            families.timeouts.cell(alias),
        )
        store.rows[PoolRow, alias] = row
    return row


def watch_pool(connection: BaseDatabaseWrapper) -> None:
    """Count what a connection takes from a pool, and gives back; nothing where there is none."""
    if connection.vendor != "postgresql" or not connection.settings_dict["OPTIONS"].get("pool"):
        return
    attributes: Any = connection
    take, give_back = attributes.get_new_connection, attributes._close  # noqa: SLF001
    attributes.get_new_connection = partial(take_connection, connection, take)
    attributes._close = partial(give_back_connection, connection, give_back)  # noqa: SLF001


def take_connection(
    connection: BaseDatabaseWrapper, take: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Take a connection from its pool, and count this thread as one that waits meanwhile."""
    record_pool(connection, waiting=1.0)
    timeouts = 0.0
    try:
        return take(*args, **kwargs)
    except Exception as error:
        # By its name, since the class is not for us to import.
        timeouts = float(any(each.__name__ == TIMEOUT for each in type(error).__mro__))
        raise
    finally:
        record_pool(connection, waiting=-1.0, timeouts=timeouts)


def give_back_connection(connection: BaseDatabaseWrapper, give_back: Callable[[], Any]) -> Any:
    """Give a connection back to its pool."""
    try:
        return give_back()
    finally:
        record_pool(connection)


def record_pool(connection: Any, waiting: float = 0.0, timeouts: float = 0.0) -> None:
    """Count who waits, and store what the pool says of itself, if it is there yet."""
    try:
        store = current_store()
        row = find_pool_row(store, connection.alias)
        pool = connection._connection_pools.get(connection.alias)  # noqa: SLF001
        with store.lock:
            row.waiting.add(waiting)
            row.timeouts.add(timeouts)
            if pool is not None and waiting <= 0:
                # Not before: who comes later must not store what was true earlier.
                stats = pool.get_stats()
                for slot, key in (
                    (row.size, "pool_size"),
                    (row.available, "pool_available"),
                    (row.most, "pool_max"),
                ):
                    slot.numbers.view[slot.position] = float(stats[key])
    except Exception:
        report_loss("connection pools")
