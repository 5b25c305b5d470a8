"""What the last fifteen minutes were like: lines for the charts, and numbers for the views."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from .document import Charts, Line, Speed
from .history import OTHERS, STEP_SECONDS, Step, merge_views
from .quantile import estimate
from .totals import ALL, BUCKETS, ERRORS, RESPONSES

MOST_LINES = 5
MOST_VIEWS = 10
STEPS_OF_A_MINUTE = 60 // STEP_SECONDS
P95 = 0.95
SHARES = (0.5, P95, 0.99)


@dataclass(frozen=True)
class Course:
    """What is to be said of some steps."""

    charts: Charts
    last_minute: Speed
    scrape_seconds: float | None
    all_views: Speed
    views: tuple[Speed, ...]


def describe_course(steps: Sequence[Step]) -> Course:
    """Return the lines, the last minute, and the views with most requests."""
    whole, minute = Stretch(steps), Stretch(steps[-STEPS_OF_A_MINUTE - 1 :])
    top = whole.list_busiest()
    charts = Charts(
        STEP_SECONDS,
        Line("requests per second", tuple(_divide(each.requests, each.seconds) for each in steps)),
        Line("share of server errors", tuple(map(find_error_share, steps))),
        (
            Line("all requests", draw_percentile(steps, ALL)),
            *(Line(view, draw_percentile(steps, view)) for view in top[:MOST_LINES]),
        ),
        Line(
            "scrape duration", tuple(_divide(each.scrape_seconds, each.scrapes) for each in steps)
        ),
    )
    scraped = (each for each in reversed(charts.scrape_seconds.points) if each is not None)
    return Course(
        charts,
        minute.measure(ALL),
        next(scraped, None),
        whole.measure(ALL),
        tuple(map(whole.measure, top)),
    )


class Stretch:
    """Some steps taken together."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._seconds = sum(each.seconds for each in steps)
        self._requests = sum(each.requests for each in steps)
        self._bounds, self._views = merge_views(steps)

    def list_busiest(self) -> list[str]:
        """Return the views with most responses."""
        responses = {
            view: counts[RESPONSES]
            for view, counts in self._views.items()
            if counts[RESPONSES] and view not in (ALL, OTHERS)
        }
        return heapq.nlargest(MOST_VIEWS, responses, key=lambda view: responses[view])

    def measure(self, view: str) -> Speed:
        """Return how the requests of a view went, or all of them."""
        counts = self._views.get(view, ())
        responses, errors = (counts[RESPONSES], counts[ERRORS]) if counts else (0.0, 0.0)
        p50, p95, p99 = (estimate(share, self._bounds, counts[BUCKETS:]) for share in SHARES)
        return Speed(
            view,
            round(responses),
            _divide(responses if view else self._requests, self._seconds),
            _divide(errors, responses),
            p50,
            p95,
            p99,
        )


def find_error_share(step: Step) -> float | None:
    """Return the share of server errors among a step's responses."""
    counts = step.views.get(ALL)
    return _divide(counts[ERRORS], counts[RESPONSES]) if counts else None


def draw_percentile(steps: Sequence[Step], view: str) -> tuple[float | None, ...]:
    """Return the 95th percentile of a view in each step."""
    return tuple(
        estimate(P95, each.bounds, each.views[view][BUCKETS:]) if view in each.views else None
        for each in steps
    )


def _divide(amount: float, by: float) -> float | None:
    return amount / by if by > 0 else None
