"""Databases as collectors have them: one connection to each, which they take turns with.

A collector uses Django's ORM as any code does. What it asks for in its thread is lent to it until
its run ends, and whoever wants the same database meanwhile waits. So the exporter costs a database
one connection, however many collectors there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from math import inf
from threading import Condition, get_ident, local
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .sessions import QUERY_SECONDS, close_connection, is_reusable, make_connection

# Longer than a database lets a query take: who has a connection then still may never return it.
LONGEST_LOAN = QUERY_SECONDS + 1.0
NO_DATABASE = "django.db.backends.dummy"

Create = Callable[[str], BaseDatabaseWrapper]


class Loan:
    """A database's connection, and the thread that has it, since when.

    ``settings`` are those it was made with: tests change them.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.settings: dict[str, Any] = {}
        self.connection: BaseDatabaseWrapper | None = None
        self.borrower: int | None = None
        self.since = 0.0

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


class Lender:
    """The loans of all databases; one whose borrower does not come back has a successor.

    ``keeps`` tells whether a connection that was given back stays open for the next borrower.
    """

    def __init__(self) -> None:
        self.keeps = False
        self._changed = Condition()
        self._loans: dict[str, Loan] = {}
        self._wanted: dict[int, str] = {}
        self._here = local()

    def lend(self, create: Create, alias: str) -> BaseDatabaseWrapper:
        """Return this thread's connection; in a thread that borrows, once nobody has it."""
        loans: list[Loan] | None = getattr(self._here, "loans", None)
        if loans is None:
            return create(alias)
        loan = self._take(alias, get_ident())
        loans.append(loan)
        return loan.open(create)

    def begin(self) -> None:
        """Let this thread borrow from now on."""
        self._here.loans = []

    def end(self) -> None:
        """Take back what this thread has borrowed, and close what it has besides."""
        loans, self._here.loans = self._here.loans, None
        lent = [loan.connection for loan in loans]
        try:
            for connection in connections.all(initialized_only=True):
                del connections[connection.alias]
                if not any(connection is each for each in lent):
                    close_connection(connection)
        finally:
            for loan in loans:
                self._take_back(loan)

    def measure_loan(self, thread: int) -> float:
        """Return how long a thread has had its connection: 0 while it waits for one."""
        with self._changed:
            if thread in self._wanted:
                return 0.0
            since = [each.since for each in self._loans.values() if each.borrower == thread]
            return time.monotonic() - max(since) if since else inf

    def close_idle(self) -> None:
        """Close what nobody has at the moment."""
        with self._changed:
            idle = [each for each in self._loans.values() if each.borrower is None]
            for loan in idle:
                del self._loans[loan.alias]
        for loan in idle:
            loan.close()

    def _take(self, alias: str, thread: int) -> Loan:
        with self._changed:
            self._wanted[thread] = alias
            try:
                while (left := self._find_patience(alias, thread)) > 0:
                    self._changed.wait(left)
            finally:
                del self._wanted[thread]
            loan = self._loans.get(alias)
            if loan is None or loan.borrower is not None:
                loan = self._loans[alias] = Loan(alias)
            loan.borrower, loan.since = thread, time.monotonic()
            return loan

    def _find_patience(self, alias: str, thread: int) -> float:
        """Return how long to wait for a database: not at all for one that is free."""
        loan = self._loans.get(alias)
        if loan is None or loan.borrower is None or self._waits_for_itself(alias, thread):
            return 0.0
        return loan.since + LONGEST_LOAN - time.monotonic()

    def _waits_for_itself(self, alias: str, thread: int) -> bool:
        """Tell whether who has a database waits, perhaps over others, for what this thread has."""
        wanted: str | None = alias
        while wanted in self._loans:
            borrower = self._loans[wanted].borrower
            if borrower == thread:
                return True
            wanted = None if borrower is None else self._wanted.get(borrower)
        return False

    def _take_back(self, loan: Loan) -> None:
        stays = False
        if self.keeps and loan.connection is not None:
            # A file may be another one next time, and costs nothing to open.
            with suppress(Exception):
                stays = loan.connection.vendor != "sqlite" and is_reusable(loan.connection)
        if not stays:
            loan.close()
        with self._changed:
            loan.borrower = None
            has_successor = self._loans.get(loan.alias) is not loan
            self._changed.notify_all()
        if has_successor:
            loan.close()


lender = Lender()


@cache
def start_lending() -> None:
    """Ask the lender wherever Django makes a connection."""
    create = connections.create_connection
    vars(connections)["create_connection"] = partial(lender.lend, create)


@contextmanager
def borrowed_databases() -> Iterator[None]:
    """Let this thread borrow databases' connections, and give all of them back at the end."""
    start_lending()
    lender.begin()
    try:
        yield
    finally:
        lender.end()


@contextmanager
def kept_connections() -> Iterator[None]:
    """Keep connections open from one run of a collector to the next; close them at the end."""
    # Not first by the threads of a scrape: two at once would have each connection lent twice, and
    # closed each time.
    start_lending()
    lender.keeps = True
    try:
        yield
    finally:
        lender.keeps = False
        lender.close_idle()


def list_databases() -> list[str]:
    """Return the aliases of the databases that there are."""
    return [name for name in connections if connections.settings[name]["ENGINE"] != NO_DATABASE]
