"""Looks at several things at once, in threads: what hangs costs the others no time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from .databases import lender
from .registry import FAILURES

logger = logging.getLogger("metrics_commands")

# Who has had a connection for a shorter time has not asked for long enough to tell anything.
FAIR_SECONDS = 1.0
LONGEST_MEMORY = 60.0
OTHERS = "other collectors have the connection"

T = TypeVar("T")


class Look(threading.Thread, Generic[T]):
    """One look at one thing; once it has ended, what it ``found``, or else its ``problem``."""

    def __init__(self, name: str, alias: str, ask: Callable[[str], T]) -> None:
        super().__init__(name=f"{name} {alias}", daemon=True)
        self.alias = alias
        self.found: T | None = None
        self.problem = ""
        self.began = time.monotonic()
        self._ask = ask

    def run(self) -> None:
        try:
            self.found = self._ask(self.alias)
        except FAILURES as error:
            self.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"

    def complain(self) -> str:
        """Say why there is nothing to be shown."""
        if self.is_alive() and not lender.measure_loan(self.ident or 0):
            return OTHERS
        return self.problem or f"no answer for {time.monotonic() - self.began:.0f} seconds"

    def tells(self) -> bool:
        """Tell whether it counts: silence does not while other collectors have the database."""
        return not self.is_alive() or lender.measure_loan(self.ident or 0) >= FAIR_SECONDS


@dataclass(frozen=True)
class Verdict(Generic[T]):
    """What is known of each thing, None of one that does not answer, and why not of the others."""

    known: Mapping[str, T | None]
    problems: list[str]


class Looks(Generic[T]):
    """The last look at each thing; ``patience`` is how long a new one is waited for."""

    def __init__(self, name: str, ask: Callable[[str], T], patience: float) -> None:
        self._name = name
        self._ask = ask
        self._patience = patience
        self._looks: dict[str, Look[T]] = {}
        self._last: dict[str, Look[T]] = {}
        self._down: set[str] = set()

    def look(self, aliases: Iterable[str]) -> list[Look[T]]:
        """Look at all at once; return the looks, whether they have ended or not.

        One that still goes on from an earlier time is waited for no longer.
        """
        chosen, begun = list(aliases), []
        for alias in chosen:
            if alias not in self._looks or not self._looks[alias].is_alive():
                self._looks[alias] = Look(self._name, alias, self._ask)
                self._looks[alias].start()
                begun.append(self._looks[alias])
        end = time.monotonic() + self._patience
        for look in begun:
            look.join(max(0.0, end - time.monotonic()))
        return [self._looks[alias] for alias in chosen]

    def judge(self, aliases: Iterable[str]) -> Verdict[T]:
        """Look at all at once; return which answer, and tell the log of those that change."""
        known: dict[str, T | None] = {}
        problems = []
        for look in self.look(aliases):
            alias = look.alias
            if not look.tells():
                last = self._last.get(alias)
                if last is None or time.monotonic() - last.began > LONGEST_MEMORY:
                    problems.append(f"{self._name} {alias}: {OTHERS}")
                    continue
                look = last  # noqa: PLW2901
            self._last[alias] = look
            known[alias] = look.found
            self._tell(look)
        return Verdict(known, problems)

    def _tell(self, look: Look[T]) -> None:
        alias = look.alias
        if look.found is None and alias not in self._down:
            self._down.add(alias)
            what = "The %s %s does not answer: %s."
            logger.warning(what, self._name, alias, look.complain().rstrip("."))
        elif look.found is not None and alias in self._down:
            self._down.discard(alias)
            logger.info("The %s %s answers again.", self._name, alias)
