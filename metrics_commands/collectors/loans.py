"""A database's connection while it is lent, and who borrows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from threading import Condition, Lock, Thread, get_ident
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .sessions import close_connection, find_interruption, make_connection

Create = Callable[[str], BaseDatabaseWrapper]


class Borrower:
    """Who wants databases: the run of a collector, in its thread.

    One that ``repeats`` may be interrupted, since it runs again.
    """

    def __init__(self, name: str, lock: Lock, *, repeats: bool) -> None:
        self.name = name
        self.thread = get_ident()
        self.repeats = repeats
        self.interrupted = False
        self.loans: list[Loan] = []
        self.wanted: str | None = None
        self.turn = Condition(lock)


class Loan:
    """A database's connection, and who has it, since when.

    ``settings`` are those it was made with: tests change them. After ``patience`` the borrower is
    interrupted if somebody waits who is quick.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.settings: dict[str, Any] = {}
        self.connection: BaseDatabaseWrapper | None = None
        self.borrower: Borrower | None = None
        self.since = 0.0
        self.patience = inf
        self.guard = Lock()

    def open(self, create: Create) -> BaseDatabaseWrapper:
        """Return the connection, or another one if it no longer works."""
        settings = connections.settings[self.alias]
        if self.connection is not None and self.settings == settings:
            with suppress(Exception):
                if self.connection.is_usable():
                    return self.connection
        self.close()
        connection: BaseDatabaseWrapper = make_connection(create, self.alias)
        self.connection, self.settings = connection, dict(settings)
        return connection

    def close(self) -> None:
        """Close the connection if there is one."""
        if self.connection is not None:
            close_connection(self.connection)
            self.connection = None

    def begin_interrupting(self) -> None:
        """Let the borrower's query end, in a thread, since a server that is gone does not answer.

        One that waits for another database meanwhile has no query.
        """
        if self.borrower is not None and self.borrower.wanted is None:
            work = partial(self._interrupt, self.borrower)
            with suppress(RuntimeError):
                Thread(target=work, name="interrupt", daemon=True).start()

    def _interrupt(self, borrower: Borrower) -> None:
        with self.guard:
            if self.borrower is not borrower or self.connection is None:
                return
            end = find_interruption(self.connection)
            if end is not None:
                # First, since the query may fail before this returns.
                borrower.interrupted = True
                with suppress(Exception):
                    end()
