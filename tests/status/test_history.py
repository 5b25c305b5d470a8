"""Fifteen minutes are remembered rightly, and no more than fifteen minutes."""

from __future__ import annotations

import math
import random
import tracemalloc
from array import array
from collections.abc import Mapping, Sequence

import pytest

from metrics_commands.status.course import describe_course
from metrics_commands.status.history import (
    MOST_NUMBERS,
    OTHERS,
    STEP_SECONDS,
    STEPS,
    History,
    merge_views,
)
from metrics_commands.status.totals import ALL, Totals

BOUNDS = (0.1, 1.0, math.inf)
START = 1_000_000 * STEP_SECONDS


def make_totals(
    requests: float,
    scrapes: int = 0,
    scrape_seconds: float = 0.0,
    bounds: tuple[float, ...] = BOUNDS,
    **views: list[int],
) -> Totals:
    """Return totals; a view's numbers are responses, errors and one for each bucket."""
    return Totals(requests, scrapes, scrape_seconds, bounds, make_counts(views))


def make_counts(views: Mapping[str, Sequence[int]]) -> dict[str, array[float]]:
    """Return the numbers of views as totals have them."""
    return {view: array("d", numbers) for view, numbers in views.items()}


def test_what_is_counted_between_two_looks_is_in_the_step_of_the_second() -> None:
    """A chart shows requests per second, errors, percentiles and scrapes of that time only."""
    history = History()
    history.add(START, make_totals(100, 4, 2.0, a=[50, 5, 50, 0, 0]))
    history.add(START + 5, make_totals(120, 5, 2.5, a=[60, 10, 50, 10, 0], b=[4, 0, 4, 0, 0]))
    history.add(START + 10, make_totals(130, 6, 2.6, a=[60, 10, 50, 10, 0], b=[8, 0, 8, 0, 0]))
    steps = history.list_steps(START + 11)
    assert len(steps) == STEPS
    assert not any(step.seconds for step in steps[:-1])
    course = describe_course(steps)
    assert course.charts.requests_per_second.points[-2:] == (None, 3.0)
    assert course.charts.scrape_seconds.points[-1] == pytest.approx(0.3)
    busiest, other = course.views
    assert (busiest.view, busiest.responses, busiest.error_share) == ("a", 10, 0.5)
    assert (other.view, other.responses, other.requests_per_second) == ("b", 8, 0.8)
    assert busiest.p50 == pytest.approx(0.55)
    assert [line.name for line in course.charts.latency] == ["all requests", "a", "b"]


def test_what_was_counted_before_the_exporter_began_is_no_peak() -> None:
    """An exporter that starts beside workers of many days shows no million requests at once."""
    history = History()
    history.add(START, make_totals(10**6, a=[10**6, 0, 10**6, 0, 0]))
    assert describe_course(history.list_steps(START)).views == ()


def test_the_first_request_of_a_deployment_is_counted() -> None:
    """Where nothing had been counted at the first look, the next one has all of it."""
    history = History()
    history.add(START, Totals())
    history.add(START + 5, Totals(3, bounds=BOUNDS, views=make_counts({ALL: [3, 0, 3, 0, 0]})))
    assert describe_course(history.list_steps(START + 5)).last_minute.responses == 3


def test_a_reset_and_a_directory_that_vanishes_make_no_peak() -> None:
    """Counters that start anew, or are unknown for a while, cost a gap and invent nothing."""
    history = History()
    history.add(START, make_totals(100, a=[100, 0, 100, 0, 0]))
    history.add(START + 5, make_totals(10, a=[10, 0, 10, 0, 0]))
    history.add(START + 10, None)
    history.add(START + 15, make_totals(500, a=[500, 0, 500, 0, 0]))
    course = describe_course(history.list_steps(START + 16))
    assert course.charts.requests_per_second.points[-2:] == (0.0, None)
    assert course.views == ()


def test_other_bounds_begin_anew() -> None:
    """After a change of PROMETHEUS_LATENCY_BUCKETS no percentile is made of both."""
    history = History()
    history.add(START, make_totals(0, a=[0, 0, 0, 0, 0]))
    history.add(START + 5, make_totals(5, a=[5, 0, 5, 0, 0]))
    history.add(START + 6, make_totals(5, bounds=(9.0, math.inf), a=[5, 0, 5, 0]))
    history.add(START + 7, make_totals(6, bounds=(9.0, math.inf), a=[6, 0, 6, 0]))
    bounds, views = merge_views(history.list_steps(START + 8))
    assert (bounds, list(views["a"])) == ((9.0, math.inf), [1, 0, 1, 0])


def test_a_step_is_forgotten_after_fifteen_minutes() -> None:
    """The page is about now."""
    history = History()
    history.add(START, make_totals(0))
    history.add(START + 1, make_totals(30))
    end = START + STEPS * STEP_SECONDS
    assert describe_course(history.list_steps(end - 1)).charts.requests_per_second.points[0] == 30
    assert not any(step.seconds for step in history.list_steps(end))


def test_views_with_few_requests_are_shown_together() -> None:
    """However many views there are, those with most requests keep their names and numbers."""
    history, bounds = History(), tuple(float(each) for each in range(200))
    views = make_counts({f"view {each}": [each, *[0] * 201] for each in range(1000)})
    history.add(START, Totals(bounds=bounds))
    history.add(START + 1, Totals(1, bounds=bounds, views=views))
    kept = history.list_steps(START + 1)[-1].views
    assert len(kept) * 202 <= MOST_NUMBERS + 2 * 202
    assert kept["view 999"][0] == 999
    assert sum(counts[0] for counts in kept.values()) == sum(range(1000))
    assert OTHERS not in [view.view for view in describe_course(history.list_steps(START)).views]


def test_many_views_for_a_long_time_take_a_few_megabytes() -> None:
    """Of a site with two hundred views the steps keep what they may, and forget it in time."""
    history, numbers = History(), random.Random(8)
    bounds = tuple(float(each) for each in range(48))
    totals = {f"view {each}": array("d", bytes(8 * 50)) for each in range(200)}
    names = list(totals)
    history.add(START, Totals(bounds=bounds, views=totals))
    tracemalloc.start()
    try:
        for look in range(1, STEPS + 20):
            totals = dict(totals)
            for view in numbers.sample(names, 60):
                totals[view] = array("d", [look] * 50)
            history.add(START + look * STEP_SECONDS, Totals(look, look, look, bounds, totals))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = history.list_steps(START + look * STEP_SECONDS)
    assert all(len(step.views) > 30 for step in kept)
    assert size < 4 * 2**20
