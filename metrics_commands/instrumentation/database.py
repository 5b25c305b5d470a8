"""Count what databases are asked, on connections of any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any
from weakref import WeakSet

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from .database_families import database_families, find_database_row
from .database_pools import watch_pool
from .guard import report_loss
from .store import current_store
from .tally import current_tally

PEER = "django_prometheus."
Execute = Callable[[str, Any, bool, dict[str, Any]], Any]

# What the driver made: a pool hands the same connection out again and again.
_opened: WeakSet[Any] = WeakSet()


def watch_databases() -> None:
    """Count on all connections made from now on, and on those that this thread has."""
    try:
        create = connections.create_connection
        connections.create_connection = partial(_make_watched, create)  # type: ignore[method-assign]
        # Django makes one while it loads the first model.
        for connection in connections.all(initialized_only=True):
            watch_connection(connection)
    except Exception:
        report_loss("databases")


def watch_connection(connection: BaseDatabaseWrapper) -> None:
    """Count on one connection and its copies, once however often it is called."""
    try:
        if count_query in connection.execute_wrappers or is_of_peer(type(connection)):
            return
        watch_pool(connection)
        attributes: Any = connection
        attributes.get_new_connection = partial(
            open_connection, connection, connection.get_new_connection
        )
        attributes.copy = partial(_make_watched, connection.copy)
        # The first is the outermost, and execute_wrapper() takes its own from the other end.
        connection.execute_wrappers.insert(0, count_query)
    except Exception:
        report_loss("database connections")


def is_of_peer(kind: type) -> bool:
    """Tell whether an engine is one of django-prometheus's, which counts under the same names."""
    return any(each.__module__.startswith(PEER) for each in kind.__mro__)


def _make_watched(
    make: Callable[..., BaseDatabaseWrapper], *args: Any, **kwargs: Any
) -> BaseDatabaseWrapper:
    connection = make(*args, **kwargs)
    watch_connection(connection)
    return connection


class Batch:
    """The parameters of one executemany; an iterator's are counted as the driver takes them."""

    def __init__(self, given: Any) -> None:
        self._given = given
        self._taken = 0
        streams = isinstance(given, Iterable) and not isinstance(given, Sized)
        self.parameters = self._follow(given) if streams else given

    @property
    def size(self) -> int:
        """Return how many statements it was."""
        return len(self._given) if isinstance(self._given, Sized) else self._taken

    def _follow(self, given: Iterable[Any]) -> Iterator[Any]:
        for each in given:
            self._taken += 1
            yield each


def count_query(
    execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Run a query as one of ``execute_wrappers``, and count it.

    Timed is what ``execute`` takes, not the fetching. PostgreSQL and MySQL have the whole result
    by then, a server-side cursor (``iterator()`` on PostgreSQL) is only declared, and SQLite
    has found the first row. ``callproc`` and what drivers add, such as ``executescript`` and
    ``copy``, do not come here.
    """
    batch = Batch(params) if many else None
    start = perf_counter()
    try:
        result = execute(sql, batch.parameters if batch else params, many, context)
    except BaseException as error:
        record_failure(context["connection"], perf_counter() - start, batch, error)
        raise
    record_query(context["connection"], perf_counter() - start, batch)
    return result


def record_query(connection: BaseDatabaseWrapper, seconds: float, batch: Batch | None) -> None:
    """Count a query that was sent, for its database and for the request that asks."""
    try:
        store = current_store()
        row = find_database_row(store, connection.alias, connection.vendor)
        size = 1.0 if batch is None else batch.size
        with store.lock:
            numbers, position = row.executed
            numbers.view[position] += size
            if batch is not None:
                numbers, position = row.executed_many
                numbers.view[position] += size
            row.seconds.observe(seconds)
        tally = current_tally.get()
        if tally is not None:
            tally.queries += 1
            tally.seconds += seconds
    except Exception:
        report_loss("queries")


def record_failure(
    connection: BaseDatabaseWrapper, seconds: float, batch: Batch | None, error: BaseException
) -> None:
    """Count a query that failed, by the class that the driver raised."""
    # In a broken transaction Django itself refuses, and nothing is sent.
    if isinstance(error, TransactionManagementError):
        return
    record_query(connection, seconds, batch)
    try:
        cause = error.__cause__ if isinstance(error, Error) else None
        kind = type(cause or error).__name__
        database_families().errors.inc(connection.alias, connection.vendor, kind)
    except Exception:
        report_loss("query errors")


def open_connection(
    connection: BaseDatabaseWrapper, connect: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Open a connection or take one from a pool, and count it where it is new."""
    try:
        opened = connect(*args, **kwargs)
    except Exception:
        record_connection(connection, None)
        raise
    record_connection(connection, opened)
    return opened


def record_connection(connection: BaseDatabaseWrapper, opened: Any) -> None:
    """Count what the driver opened, if it is new; None is a connection that failed."""
    try:
        if opened is not None and not is_new(opened):
            return
        store = current_store()
        with store.lock:
            row = find_database_row(store, connection.alias, connection.vendor)
            numbers, position = row.connection_errors if opened is None else row.connections
            numbers.view[position] += 1.0
    except Exception:
        report_loss("connections")


def is_new(opened: Any) -> bool:
    """Tell whether the driver's connection is one that was not seen before."""
    # What cannot be remembered, as SQLite's, is in no pool.
    with suppress(TypeError):
        if opened in _opened:
            return False
        _opened.add(opened)
    return True
