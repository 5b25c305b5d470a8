"""What psycopg's pools have, in threads that take connections, wait for them and give them back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event
from typing import Any

import django
import pytest
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from prometheus_client import REGISTRY
from pytest_django import DjangoDbBlocker

from metrics_commands.instrumentation.database import watch_databases
from metrics_commands.instrumentation.families import register
from tests.e2e.postgresql import Server, postgresql
from tests.processes import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(django.VERSION < (5, 1), reason="Django has pools since 5.1"),
]
Connect = Callable[..., BaseDatabaseWrapper]
# Each test has a database of its own name, whose numbers begin at zero.
numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server that runs."""
    with postgresql() as running:
        yield running


@pytest.fixture
def connect(
    server: Server, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Connect]:
    """Yield a function that makes a connection object with a pool of its own."""
    monkeypatch.setattr(connections, "create_connection", connections.create_connection)
    register()
    watch_databases()
    made: list[Any] = []

    def make(**pool: Any) -> BaseDatabaseWrapper:
        alias = f"pooled_{next(numbers)}"
        settings = server.settings(OPTIONS={"pool": pool} if pool else {})
        configured = connections.configure_settings({"default": {}, alias: settings})
        monkeypatch.setitem(connections.settings, alias, configured[alias])
        made.append(connections[alias])
        return connections[alias]

    with django_db_blocker.unblock():
        yield make
        for connection in made:
            connection.close()
            if connection.pool:
                connection.close_pool()
            del connections[connection.alias]
    # What a thread of a test had was its own.
    gc.collect()


def show(alias: str, name: str) -> float | None:
    """Return one number of a pool, None where there is no such series."""
    return REGISTRY.get_sample_value(f"django_db_pool_{name}", {"alias": alias})


def show_room(alias: str) -> tuple[float | None, ...]:
    """Return how many connections there are, are free, and may be."""
    names = ("connections", "available_connections", "max_connections")
    return tuple(show(alias, name) for name in names)


def test_what_is_taken_is_not_available(connect: Connect) -> None:
    """Numbers change when a connection is taken and when it is given back, and stay in between."""
    # A pool that may have more opens the next one by itself, at some time.
    connection = connect(min_size=1, max_size=1)
    alias = connection.alias
    assert show_room(alias) == (None, None, None)
    for _ in range(3):
        connection.ensure_connection()
        assert show_room(alias) == (1, 0, 1)
        connection.close()
        assert show_room(alias) == (1, 1, 1)
    assert show(alias, "waiting_requests") == 0
    assert show(alias, "timeouts_total") == 0


def test_who_waits_is_seen_while_it_waits(connect: Connect) -> None:
    """Threads that wait for a connection are counted until they have it, and time out in none."""
    connection = connect(min_size=1, max_size=1)
    alias = connection.alias
    connection.ensure_connection()
    done = Event()

    def work(_: int) -> None:
        own = connections[alias]
        try:
            own.ensure_connection()
            assert done.wait(60)
        finally:
            own.close()
            del connections[alias]

    with ThreadPoolExecutor(2) as threads:
        both = threads.map(work, range(2))
        assert wait_until(lambda: show(alias, "waiting_requests") == 2)
        connection.close()
        assert wait_until(lambda: show(alias, "waiting_requests") == 1)
        assert show_room(alias) == (1, 0, 1)
        done.set()
        list(both)
    assert show(alias, "waiting_requests") == 0
    assert show_room(alias) == (1, 1, 1)
    assert show(alias, "timeouts_total") == 0


def test_who_waits_in_vain_is_counted(connect: Connect) -> None:
    """A timeout is one, the application has its error, and nobody waits any longer."""
    connection = connect(min_size=1, max_size=1, timeout=0.05)
    alias = connection.alias
    connection.ensure_connection()
    second = connection.copy()
    for failures in (1, 2):
        with pytest.raises(OperationalError):
            second.ensure_connection()
        assert show(alias, "timeouts_total") == failures
    assert show(alias, "waiting_requests") == 0


def test_without_a_pool_there_is_nothing(connect: Connect) -> None:
    """A database without one has no series, and its connections no wrapper of ours for it."""
    connection = connect()
    connection.ensure_connection()
    connection.close()
    assert show_room(connection.alias) == (None, None, None)
    assert "_close" not in vars(connection)
