"""The last fifteen minutes in memory: what happened in each quarter of a minute, and no more."""

from __future__ import annotations

import heapq
import operator
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from .totals import ALL, BUCKETS, RESPONSES, Totals

STEP_SECONDS = 15
STEPS = 60
# What a step keeps is bounded, however many views and buckets there are.
MOST_VIEWS = 40
MOST_NUMBERS = 2000
OTHERS = "<other views>"


@dataclass
class Step:
    """What was counted in one step; ``seconds`` is how much of time was looked at.

    ``views`` has the same as in Totals; the views with few responses are together in ``OTHERS``.
    """

    number: int
    seconds: float = 0.0
    requests: float = 0.0
    scrapes: int = 0
    scrape_seconds: float = 0.0
    bounds: tuple[float, ...] = ()
    views: dict[str, array[float]] = field(default_factory=dict)

    def add(self, seconds: float, before: Totals, now: Totals) -> None:
        """Add what has happened between two moments."""
        self.seconds += seconds
        self.requests += max(0.0, now.requests - before.requests)
        self.scrapes += max(0, now.scrapes - before.scrapes)
        self.scrape_seconds += max(0.0, now.scrape_seconds - before.scrape_seconds)
        if self.bounds != now.bounds:
            # Counts of other buckets cannot be added to these.
            self.bounds, self.views = now.bounds, {}
        if before.bounds == now.bounds or not before.views:
            self._add_views(before.views, now.views)

    def _add_views(
        self, before: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]
    ) -> None:
        changes = {
            view: subtract(counts, before.get(view))
            for view, counts in now.items()
            if counts != before.get(view)
        }
        most = max(1, min(MOST_VIEWS, MOST_NUMBERS // (BUCKETS + len(self.bounds))))
        busiest = heapq.nlargest(most, changes, key=lambda view: changes[view][RESPONSES])
        for view in dict.fromkeys((*busiest, *changes)):
            known = view == ALL or view in self.views or len(self.views) < most
            name = view if known else OTHERS
            self.views[name] = add_up([changes[view], self.views.get(name, ())])


class History:
    """Steps of the last fifteen minutes; safe to add to in one thread and to read in another."""

    def __init__(self) -> None:
        self._steps: deque[Step] = deque(maxlen=STEPS)
        self._before: tuple[float, Totals] | None = None
        self._lock = threading.Lock()

    def add(self, now: float, totals: Totals | None) -> None:
        """Take in the totals of a moment; None where they are not known.

        What was counted before the first moment, or before one that is not known, is left out.
        """
        with self._lock:
            if totals is not None and self._before is not None:
                then, before = self._before
                number = int(now // STEP_SECONDS)
                if not self._steps or self._steps[-1].number != number:
                    self._steps.append(Step(number))
                self._steps[-1].add(now - then, before, totals)
            self._before = None if totals is None else (now, totals)

    @property
    def latest(self) -> Totals | None:
        """Return the totals that were added last."""
        with self._lock:
            return self._before[1] if self._before else None

    def list_steps(self, now: float) -> list[Step]:
        """Return all steps of the time, oldest first; one without ``seconds`` was not looked at."""
        last = int(now // STEP_SECONDS)
        with self._lock:
            known = {
                step.number: Step(**{**vars(step), "views": dict(step.views)})
                for step in self._steps
            }
        return [known.get(each, Step(each)) for each in range(last - STEPS + 1, last + 1)]


def subtract(counts: Sequence[float], before: Sequence[float] | None) -> array[float]:
    """Return what has been added; what has become less, as after a reset, counts as nothing."""
    if before is None:
        return array("d", counts)
    return array("d", map(max, map(operator.sub, counts, before), repeat(0.0)))


def add_up(lists: Iterable[Sequence[float]]) -> array[float]:
    """Return the sums of lists of one length; an empty one is left out."""
    return array("d", map(sum, zip(*(each for each in lists if each), strict=True)))


def merge_views(steps: Sequence[Step]) -> tuple[tuple[float, ...], dict[str, array[float]]]:
    """Return the sums over steps by view, and their bounds: those of the latest."""
    bounds = next((each.bounds for each in reversed(steps) if each.bounds), ())
    merged: dict[str, array[float]] = {}
    for step in steps:
        if step.bounds == bounds:
            for view, counts in step.views.items():
                merged[view] = add_up([counts, merged.get(view, ())])
    return bounds, merged
