"""A database that collectors ask, of whichever vendor: its settings, and what a collector does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from prometheus_client import Metric

from metrics_commands.collectors import sessions
from metrics_commands.collectors.databases import lender
from tests.collectors.gathers import gauge, make_set, scrape
from tests.processes import sample

ALIAS = "served"


@contextmanager
def configuring(
    settings: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Yield a function that changes the settings of the only database, which is there already."""

    def change(**changes: Any) -> None:
        both = {"default": {}, ALIAS: settings(**changes)}
        made = connections.configure_settings(both)
        monkeypatch.setitem(connections.settings, ALIAS, made[ALIAS])

    monkeypatch.delitem(connections.settings, "default")
    monkeypatch.setattr(sessions, "_told", set())
    change()
    yield change
    lender.close_idle()


def ask(sql: str) -> Any:
    """Return the one value that a query of a collector finds."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def show(name: str, collect: Callable[[], float]) -> Callable[[], Iterable[Metric]]:
    """Return a collector that shows what a function returns."""
    return lambda: [gauge(name, collect())]


def run(function: Callable[[], object]) -> bool:
    """Let a collector call a function; return whether it returned something true."""
    samples = scrape(make_set(once=show("once", lambda: float(bool(function())))))
    return sample(samples, "once") == 1


def leave_atomic() -> None:
    """Begin as Django does, and never end."""
    transaction.atomic(ALIAS).__enter__()


def leave_autocommit() -> None:
    """Switch autocommit off."""
    connections[ALIAS].set_autocommit(False)


def leave_begun() -> None:
    """Begin behind Django's back."""
    connections[ALIAS].cursor().execute("BEGIN")
