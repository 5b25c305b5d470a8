"""What the charts need of the workers' numbers, as totals of one moment: by view, and in all."""

from __future__ import annotations

import math
import operator
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]

ALL = ""
REQUESTS = "django_http_requests_before_middlewares"
STATUSES = "django_http_responses_total_by_status"
VIEW_STATUSES = "django_http_responses_total_by_status_view_method"
LATENCY = "django_http_requests_latency_including_middlewares_seconds"
VIEW_LATENCY = "django_http_requests_latency_seconds_by_view_method"
WANTED = (REQUESTS, STATUSES, VIEW_STATUSES, LATENCY, VIEW_LATENCY)
# Of a view's numbers these come first, and then one for each bucket.
RESPONSES, ERRORS, BUCKETS = 0, 1, 2


class Rows(NamedTuple):
    """A family as the merged page has it: its series, and a number for each."""

    series: Sequence[Series]
    numbers: Sequence[float | None]


@dataclass(frozen=True)
class Totals:
    """Counts since the workers began: ``views`` by view, and for all under ``ALL``.

    ``bounds`` are the upper ends of the buckets that stand in each of ``views``.
    """

    requests: float = 0.0
    scrapes: int = 0
    scrape_seconds: float = 0.0
    bounds: tuple[float, ...] = ()
    views: Mapping[str, array[float]] = field(default_factory=dict)


class StatusRow(NamedTuple):
    """Where the responses of one view and one status stand."""

    view: str
    row: int
    failed: bool


class BucketRows(NamedTuple):
    """Where the buckets of one set of labels stand, which count up to each bound."""

    view: str
    first: int
    bounds: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """Where the numbers stand among some series; it holds for exactly these lists."""

    lists: tuple[Sequence[Series], ...]
    bounds: tuple[float, ...]
    statuses: Mapping[str, list[StatusRow]]
    buckets: Mapping[str, list[BucketRows]]

    def fits(self, families: Mapping[str, Rows]) -> bool:
        """Tell whether these are still the very same lists of series."""
        lists = list_series(families)
        return len(lists) == len(self.lists) and all(map(operator.is_, lists, self.lists))


class TotalsReader:
    """Add up families again and again; labels are looked at only where series have changed."""

    def __init__(self) -> None:
        self._plan = Plan((), (), {}, {})

    def read(
        self, families: Mapping[str, Rows], scrapes: int = 0, scrape_seconds: float = 0.0
    ) -> Totals:
        """Return the totals of families by their names, those of ``WANTED`` that there are."""
        if not self._plan.fits(families):
            self._plan = make_plan(families)
        plan = self._plan
        places = {bound: place for place, bound in enumerate(plan.bounds, BUCKETS)}
        views: dict[str, array[float]] = {}
        for name, rows in plan.statuses.items():
            numbers = families[name].numbers
            for view, row, failed in rows:
                counts = _find(views, view, len(plan.bounds))
                counts[RESPONSES] += numbers[row] or 0.0
                counts[ERRORS] += (numbers[row] or 0.0) if failed else 0.0
        for name, sets in plan.buckets.items():
            numbers = families[name].numbers
            for view, first, bounds in sets:
                counts, before = _find(views, view, len(plan.bounds)), 0.0
                for row, bound in enumerate(bounds, first):
                    number = numbers[row] or 0.0
                    counts[places[bound]] += number - before
                    before = number
        numbers = families[REQUESTS].numbers if REQUESTS in families else ()
        requests = sum(number or 0.0 for number in numbers)
        return Totals(requests, scrapes, scrape_seconds, plan.bounds, views)


def _find(views: dict[str, array[float]], view: str, buckets: int) -> array[float]:
    if view not in views:
        views[view] = array("d", bytes(8 * (BUCKETS + buckets)))
    return views[view]


def list_series(families: Mapping[str, Rows]) -> tuple[Sequence[Series], ...]:
    """Return the lists of series, in an order that is always the same."""
    return tuple(families[name].series for name in WANTED if name in families)


def make_plan(families: Mapping[str, Rows]) -> Plan:
    """Return where the statuses and the buckets stand in the families' series."""
    statuses = {
        name: find_statuses(families[name].series)
        for name in (STATUSES, VIEW_STATUSES)
        if name in families
    }
    buckets = {
        name: find_buckets(families[name].series)
        for name in (LATENCY, VIEW_LATENCY)
        if name in families
    }
    bounds = {bound for sets in buckets.values() for each in sets for bound in each.bounds}
    return Plan(list_series(families), tuple(sorted(bounds)), statuses, buckets)


def find_statuses(series: Sequence[Series]) -> list[StatusRow]:
    """Return where responses stand; without a label for the view, they are those of all."""
    found = []
    for row, (_, pairs) in enumerate(series):
        labels = dict(pairs)
        failed = labels.get("status", "").startswith("5")
        found.append(StatusRow(labels.get("view", ALL), row, failed))
    return found


def find_buckets(series: Sequence[Series]) -> list[BucketRows]:
    """Return where buckets stand, which are next to each other for each set of labels."""
    found: list[BucketRows] = []
    current: dict[str, str] | None = None
    for row, (name, pairs) in enumerate(series):
        labels = dict(pairs)
        bound = labels.pop("le", "")
        if not name.endswith("_bucket") or not bound:
            current = None
        elif current == labels:
            last = found[-1]
            found[-1] = last._replace(bounds=(*last.bounds, _read_bound(bound)))
        else:
            current = labels
            found.append(BucketRows(labels.get("view", ALL), row, (_read_bound(bound),)))
    return found


def _read_bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf
