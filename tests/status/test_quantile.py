"""Percentiles are those that Prometheus would show of the same buckets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.status.quantile import estimate

BOUNDS = (0.1, 0.5, 1.0, math.inf)


@pytest.mark.parametrize(
    ("share", "counts", "value"),
    [
        (0.5, (10, 0, 0, 0), 0.05),
        (0.5, (0, 10, 0, 0), 0.3),
        (0.75, (5, 5, 0, 0), 0.3),
        (1.0, (0, 0, 4, 0), 1.0),
        (0.99, (0, 0, 0, 3), 1.0),
        (0.0, (0, 2, 2, 0), 0.1),
        (0.5, (0, 0, 0, 0), None),
        (0.5, (), None),
    ],
)
def test_a_percentile_is_where_its_rank_lies_in_its_bucket(
    share: float, counts: tuple[float, ...], value: float | None
) -> None:
    """Values are taken to be spread evenly in a bucket, and the last has no end to go by."""
    assert estimate(share, BOUNDS, counts) == (None if value is None else pytest.approx(value))


def test_buckets_without_any_end_have_no_percentile() -> None:
    """Of a histogram with no bucket but infinity nothing is known."""
    assert estimate(0.5, (math.inf,), (3.0,)) is None


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_higher_share_never_has_a_lower_value(
    counts: list[int], one: float, other: float
) -> None:
    """The p99 of the page is never below its p95, and both are within the buckets."""
    lower, higher = (estimate(share, BOUNDS, counts) for share in sorted((one, other)))
    assert lower is not None
    assert higher is not None
    assert 0 <= lower <= higher + 1e-12
    assert higher <= 1.0 + 1e-12
