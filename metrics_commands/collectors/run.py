"""The runs of one collector: never two at once, however many scrapes wait for it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, cast

from prometheus_client import Metric

from .databases import borrowed_databases, lender
from .frames import skip_frames
from .loans import Borrower
from .threads import Threads

if TYPE_CHECKING:
    from .registry import Collector, Rendered

logger = logging.getLogger("metrics_commands")

REASONS = ("error", "timeout", "still_running")
FRESH_INTERVALS = 2
RETRY_SECONDS = 10.0


class RefusedError(Exception):
    """Stand for what keeps a collector from running, of which the log has been told."""


class Run:
    """One run of a collector; what it has found may be read once it is done."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.ended = 0.0
        self.done = threading.Event()
        self.succeeded = False
        self.missed = False
        self.families: dict[str, Metric] = {}
        self.rendered: list[Rendered] = []

    def forget(self) -> None:
        """Begin anew."""
        self.families = {}
        self.rendered = []

    def fill(self, found: Iterable[Metric | Rendered]) -> None:
        """Keep what a collector yields, also of one that fails half way."""
        for family in found:
            if isinstance(family, Metric) and isinstance(family.name, str):
                known = self.families.setdefault(family.name, family)
                if known is not family and known.type == family.type:
                    self.families[family.name] = unite(known, family)
            elif hasattr(family, "render"):
                self.rendered.append(family)
            else:
                raise TypeError(f"{type(family).__qualname__} is no metric family")


class Runner:
    """A collector with its runs, how often they failed, and what the log was told of that.

    A collector may have an ``interval``: then a scrape is served what its last run found, and
    begins the next one when it is due, which after a failure is soon. No clock of ours does, so
    that a database that a collector asks has rest where nobody scrapes. Its ``timeout`` is the
    longest that a scrape waits for it.
    """

    def __init__(self, name: str, collector: Collector, threads: Threads) -> None:
        self.name = name
        self.shown = show_place(name, collector)
        self.interval: float = getattr(collector, "interval", None) or 0.0
        timeout: float | None = getattr(collector, "timeout", None)
        self.timeout = threading.TIMEOUT_MAX if timeout is None else timeout
        self.failures = dict.fromkeys(REASONS, 0)
        self._collector = collector
        self._threads = threads
        self._lock = threading.Lock()
        self._going: Run | None = None
        self._last: Run | None = None
        self._told: set[str] = set()

    def join(self) -> Run:
        """Return the run that a scrape shows: the one that goes on, or else a new one.

        Where there is an interval it is the last one, unless that ended so long ago that its
        numbers only look alive.
        """
        with self._lock:
            now, last = time.monotonic(), self._last
            if last is not None and now - last.began < self._find_rest(last):
                return last
            run = self._going or Run()
            begins = run is not self._going
            self._going = run
        if begins:
            self._start(run)
        if last is not None and now - last.ended <= FRESH_INTERVALS * self.interval:
            return last
        return run

    def _find_rest(self, last: Run) -> float:
        """Return how long after a run the next one begins; what has failed is tried again soon."""
        return self.interval if last.succeeded else min(self.interval, RETRY_SECONDS)

    def miss(self, run: Run, reason: str) -> None:
        """Count that a gather goes without this run, which has not returned."""
        with self._lock:
            run.missed = True
            self.failures[reason] += 1
        if run.done.is_set():
            return
        seconds, obstacle = time.monotonic() - run.began, lender.find_obstacle(self.name)
        if obstacle is not None and self._is_news("wait"):
            what = "Collector %s has no answer after %.1f s: it waits for database %s behind %s."
            logger.error(what, self.shown, seconds, *obstacle)
        elif obstacle is None and self._is_news("timeout"):
            what = "Collector %s has not answered for %.1f s; the others are served."
            logger.error(what, self.shown, seconds)

    def _start(self, run: Run) -> None:
        try:
            self._threads.start(self._work, self._finish)
        except RuntimeError:
            self._fail(run)
            self._finish()

    def _work(self) -> None:
        # Not where the run is at hand: before Python 3.11 Django's look-up of connections leaves
        # cycles behind that would keep its callers' variables until the next collection.
        for repeats in (True, False):
            with borrowed_databases(self.name, repeats=repeats) as borrower:
                if self._collect(borrower):
                    return

    def _collect(self, borrower: Borrower) -> bool:
        """Collect once; return whether that counts, which it does not if it was interrupted."""
        run = cast(Run, self._going)
        try:
            run.fill(self._collector.collect())
        except BaseException:
            # As itself, an exit would end the thread, and nobody would ever learn of it.
            if not borrower.interrupted:
                self._fail(run)
                return True
        else:
            if not borrower.interrupted:
                run.ended = time.monotonic()
                self._succeed(run)
                return True
        run.forget()
        return False

    def _succeed(self, run: Run) -> None:
        run.succeeded = True
        with self._lock:
            # What comes too late each time does not work again each time.
            heals = bool(self._told) and not run.missed
            if heals:
                self._told.clear()
        if heals:
            logger.info("Collector %s works again.", self.name)

    def _fail(self, run: Run) -> None:
        run.ended = time.monotonic()
        with self._lock:
            self.failures["error"] += 1
        error = cast(BaseException, sys.exc_info()[1])
        if not isinstance(error, RefusedError) and self._is_news("error"):
            self._tell_failure(error)

    def _tell_failure(self, error: BaseException) -> None:
        """Tell of a collector of ours with all frames, of the project's own with its own ones."""
        is_ours = not getattr(self._collector, "place", "")
        frames = error.__traceback__ if is_ours else skip_frames(error)
        if frames is None:
            reason = str(error) or type(error).__name__
            logger.error("Collector %s failed: %s; the others are served.", self.shown, reason)
        else:
            what = "Collector %s failed; the others are served."
            logger.error(what, self.shown, exc_info=(type(error), error, frames))

    def _is_news(self, failure: str) -> bool:
        with self._lock:
            told = failure in self._told
            self._told.add(failure)
        return not told

    def _finish(self) -> None:
        with self._lock:
            run, self._going = self._going, None
            self._last = run if self.interval else None
        if run is not None:
            run.done.set()


def show_place(name: str, collector: Collector) -> str:
    """Return a collector's name for the log, and of the project's own where it stands."""
    place = getattr(collector, "place", "")
    return f"{name} ({place})" if place else name


def unite(first: Metric, second: Metric) -> Metric:
    """Return one family of both, since some collectors yield a family once for every sample."""
    joined = copy(first)
    joined.samples = [*first.samples, *second.samples]
    return joined
