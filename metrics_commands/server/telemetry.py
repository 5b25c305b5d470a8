"""What a scrape asks for, and what it gets: plain values between HTTP and whoever makes pages."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .background import run_in_thread

# What is left of the client's time for encoding, sending and the way.
OFFSET_SECONDS = 0.5
# Prometheus' own default; who sends no timeout, such as a person with curl, waits as long.
DEFAULT_SECONDS = 10.0
# Whatever timeout is sent: nobody waits for longer, and nobody calls quick collectors slow.
LONGEST_SECONDS = 120.0
SHORTEST_SECONDS = 0.2


@dataclass(frozen=True)
class Question:
    """One scrape: its headers as sent, its filters, and for how many seconds it may gather."""

    accept: str = ""
    accept_encoding: str = ""
    names: tuple[str, ...] = ()
    collect: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    seconds: float = DEFAULT_SECONDS - OFFSET_SECONDS


@dataclass(frozen=True)
class Page:
    """The answer; ``encoding`` is a content coding, '' for none."""

    body: bytes
    content_type: str
    encoding: str = ""


class BadQuestionError(Exception):
    """What is asked for does not exist; the text goes to who asked."""


@dataclass(frozen=True)
class Telemetry:
    """The page of metrics under its path: ``make`` runs in a thread, ``describe`` gathers nothing.

    ``describe`` returns the content type that a page would have. Both may raise BadQuestionError.
    """

    path: str
    make: Callable[[Question], Page]
    describe: Callable[[Question], str]


class TooManyError(Exception):
    """As many pages are being made as may be at once."""


class PagesInWork:
    """The pages that are being made: who asks for the same meanwhile gets the same.

    So any number of scrapes at once cost no more than one, as long as they ask alike.
    """

    def __init__(self, make: Callable[[Question], Page], most: int) -> None:
        self._make = make
        self._most = most
        self._latest: dict[Question, tuple[float, asyncio.Task[Page]]] = {}
        self._going: set[asyncio.Task[Page]] = set()

    async def make(self, question: Question) -> Page:
        """Return the page, or raise TooManyError where too many others are in work."""
        now = time.monotonic()
        began, task = self._latest.get(question, (now, None))
        # One that takes longer than it may is stuck, and must not hold up who comes later.
        if task is None or now - began > question.seconds:
            if self._most and len(self._going) >= self._most:
                raise TooManyError
            work = partial(self._make, question)
            task = asyncio.create_task(run_in_thread("scrape", work, BadQuestionError))
            self._latest[question] = now, task
            self._going.add(task)
            task.add_done_callback(lambda done: self._forget(question, done))
        # Others wait for the same: who leaves must not cancel it.
        return await asyncio.shield(task)

    def _forget(self, question: Question, done: asyncio.Task[Page]) -> None:
        self._going.discard(done)
        if question in self._latest and self._latest[question][1] is done:
            del self._latest[question]
        if not done.cancelled():
            # Known to asyncio as seen, also where all who waited have gone.
            done.exception()


def choose_seconds(header: str | None) -> float:
    """Return how long to gather for a client that sent this timeout, or none that makes sense.

    The header is ``X-Prometheus-Scrape-Timeout-Seconds``; what cannot be read is as good as none.
    """
    try:
        sent = float(header or "")
    except ValueError:
        sent = math.nan
    timeout = min(max(sent, SHORTEST_SECONDS), LONGEST_SECONDS) if sent > 0 else DEFAULT_SECONDS
    return timeout - min(OFFSET_SECONDS, timeout / 2)
