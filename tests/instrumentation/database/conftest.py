"""What all tests of databases need: a watched one of their own, on SQLite."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import DjangoDbBlocker

from metrics_commands.instrumentation.database import watch_databases

from .statements import execute

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
