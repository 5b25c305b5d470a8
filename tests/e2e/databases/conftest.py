"""What all tests of collectors with a real PostgreSQL need."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from pytest_django import DjangoDbBlocker

from ..asked import configuring
from ..postgresql import USER, Server, postgresql


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server that runs."""
    with postgresql() as running:
        yield running


@pytest.fixture
def configure(
    server: Server, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[..., None]]:
    """Yield a function that changes the database's settings."""
    with django_db_blocker.unblock(), configuring(server.settings, monkeypatch) as change:
        yield change


@pytest.fixture
def watcher(server: Server) -> Iterator[psycopg.Connection]:
    """Yield a connection that looks on."""
    conninfo = f"host=127.0.0.1 port={server.port} user={USER} dbname=postgres"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection
