"""Databases as collectors have them: one connection to each, which they take turns with.

A collector uses Django's ORM as any code does. What it asks for in its thread is lent to it until
its run ends, and whoever wants the same database meanwhile waits. So the exporter costs a database
one connection, however many collectors there are.

The quick ones come first: who had a database for long the last time is lent it after all others.
Whoever turns out to be slow while quick ones wait is interrupted, once, and runs again as the last.
So ten queries that hang, and of which nothing is known at the first scrape, cost it half a second
each, and not five; later scrapes wait for one of them at most, until the server ends it. Where a
query cannot be interrupted, as with MySQL, the server ends each before the quick ones have a turn,
and several scrapes pass until all that hang are known.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from math import inf
from threading import Lock, current_thread, local

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .loans import Borrower, Create, Loan
from .sessions import QUERY_SECONDS, close_connection, is_reusable

# Longer than a database lets a query take: who has a connection then still may never return it.
LONGEST_LOAN = QUERY_SECONDS + 1.0
# Ten that hang leave the rest of a scrape of ten seconds half of its time.
QUICK_SECONDS = 0.5
NO_DATABASE = "django.db.backends.dummy"


class Lender:
    """The loans of all databases; one whose borrower does not come back has a successor.

    ``keeps`` tells whether a connection that was given back stays open for the next borrower.
    """

    def __init__(self) -> None:
        self.keeps = False
        self._lock = Lock()
        self._loans: dict[str, Loan] = {}
        # As they came.
        self._waiting: list[Borrower] = []
        self._slow: dict[tuple[str, str], float] = {}
        self._here = local()

    def lend(self, create: Create, alias: str) -> BaseDatabaseWrapper:
        """Return this thread's connection; in a thread that borrows, once it is its turn."""
        borrower: Borrower | None = getattr(self._here, "borrower", None)
        if borrower is None:
            return create(alias)
        loan = self._take(borrower, alias)
        borrower.loans.append(loan)
        return loan.open(create)

    def begin(self, name: str, *, repeats: bool) -> Borrower:
        """Let this thread borrow from now on."""
        borrower = Borrower(name, self._lock, repeats=repeats)
        self._here.borrower = borrower
        return borrower

    def end(self) -> None:
        """Take back what this thread has borrowed, and close what it has besides."""
        loans, self._here.borrower = self._here.borrower.loans, None
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
        with self._lock:
            if any(each.thread == thread for each in self._waiting):
                return 0.0
            lent = [(each.borrower, each.since) for each in self._loans.values()]
            since = [since for borrower, since in lent if borrower and borrower.thread == thread]
            return time.monotonic() - max(since) if since else inf

    def find_obstacle(self, name: str) -> tuple[str, str] | None:
        """Return the database that a borrower waits for, and who has it; None if it does not."""
        with self._lock:
            for each in self._waiting:
                loan = self._loans.get(each.wanted or "")
                if each.name == name and loan is not None and loan.borrower is not None:
                    return loan.alias, loan.borrower.name
            return None

    def close_idle(self) -> None:
        """Close what nobody has at the moment."""
        with self._lock:
            idle = [each for each in self._loans.values() if each.borrower is None]
            for loan in idle:
                del self._loans[loan.alias]
        for loan in idle:
            loan.close()

    def _take(self, borrower: Borrower, alias: str) -> Loan:
        with self._lock:
            begin = time.monotonic()
            borrower.wanted = alias
            self._waiting.append(borrower)
            try:
                while (left := self._find_patience(borrower, alias)) > 0:
                    borrower.turn.wait(None if left == inf else left)
            finally:
                borrower.wanted = None
                self._waiting.remove(borrower)
                self._call_next(alias)
            loan = self._loans.get(alias)
            if loan is None or loan.borrower is not None:
                loan = self._loans[alias] = Loan(alias)
            now = time.monotonic()
            for each in borrower.loans:
                # It made no use of them meanwhile.
                each.since += now - begin
            may_interrupt = borrower.repeats and not self._rank(borrower, alias)
            loan.patience = QUICK_SECONDS if may_interrupt else inf
            loan.borrower, loan.since = borrower, now
            return loan

    def _find_patience(self, borrower: Borrower, alias: str) -> float:
        """Return how long to wait for a database: not at all for one that is free."""
        loan = self._loans.get(alias)
        if loan is None or self._waits_for_itself(borrower):
            return 0.0
        if self._find_next(alias) is not borrower:
            return inf
        if loan.borrower is None:
            return 0.0
        held = time.monotonic() - loan.since
        if self._rank(borrower, alias):
            return LONGEST_LOAN - held
        if held >= loan.patience:
            loan.patience = held + QUICK_SECONDS
            loan.begin_interrupting()
        return min(LONGEST_LOAN, loan.patience) - held

    def _rank(self, borrower: Borrower, alias: str) -> int:
        """Return 0 for who was quick the last time, or is new, and more for who was slow."""
        return int(self._slow.get((borrower.name, alias), 0.0) / QUICK_SECONDS)

    def _find_next(self, alias: str) -> Borrower | None:
        """Return whose turn is next: of several with one rank, who has waited for longest."""
        waiting = [each for each in self._waiting if each.wanted == alias]
        return min(waiting, key=lambda each: self._rank(each, alias), default=None)

    def _call_next(self, alias: str) -> None:
        borrower = self._find_next(alias)
        if borrower is not None:
            borrower.turn.notify()

    def _waits_for_itself(self, borrower: Borrower) -> bool:
        """Tell whether who has a database waits, perhaps over others, for what this one has."""
        wanted = borrower.wanted
        while wanted in self._loans:
            other = self._loans[wanted].borrower
            if other is borrower:
                return True
            wanted = None if other is None else other.wanted
        return False

    def _take_back(self, loan: Loan) -> None:
        # Not while it is interrupted, which would reach the next one's query.
        with loan.guard:
            stays = False
            if self.keeps and loan.connection is not None:
                # A file may be another one next time, and costs nothing to open.
                with suppress(Exception):
                    stays = loan.connection.vendor != "sqlite" and is_reusable(loan.connection)
            if not stays:
                loan.close()
            with self._lock:
                self._remember(loan)
                loan.borrower = None
                has_successor = self._loans.get(loan.alias) is not loan
                self._call_next(loan.alias)
        if has_successor:
            loan.close()

    def _remember(self, loan: Loan) -> None:
        """Keep how long a loan was, if it was long."""
        if loan.borrower is not None:
            key, held = (loan.borrower.name, loan.alias), time.monotonic() - loan.since
            if held < QUICK_SECONDS:
                self._slow.pop(key, None)
            else:
                self._slow[key] = held


lender = Lender()


@cache
def start_lending() -> None:
    """Ask the lender wherever Django makes a connection."""
    create = connections.create_connection
    vars(connections)["create_connection"] = partial(lender.lend, create)


@contextmanager
def borrowed_databases(name: str = "", *, repeats: bool = False) -> Iterator[Borrower]:
    """Let this thread borrow databases' connections, and give all of them back at the end.

    Without a name it is known by the thread's.
    """
    start_lending()
    borrower = lender.begin(name or current_thread().name, repeats=repeats)
    try:
        yield borrower
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
