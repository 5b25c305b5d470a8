"""How often something may happen, compared with exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.server.rate_limit import RateLimit
from tests.processes import wait_until


@pytest.mark.parametrize(
    ("interval", "burst", "allowed"), [(0, 0, 10), (0, 3, 10), (1, 0, 0), (1, 1, 1), (1, 3, 3)]
)
def test_of_ten_at_once_the_burst_is_allowed(interval: float, burst: int, allowed: int) -> None:
    """An interval of 0 sets no limit, a burst of 0 lets nothing through."""
    limit = RateLimit(interval, burst)
    assert [limit.allow() for _ in range(10)] == [True] * allowed + [False] * (10 - allowed)


def test_time_passes_by_itself() -> None:
    """Who was refused is let in when the interval is over."""
    limit = RateLimit(0.05, 1)
    assert limit.allow()
    assert not limit.allow()
    assert wait_until(limit.allow)


@pytest.mark.parametrize("interval", [0.1, 0.0041, 0.0079, 1 / 3])
def test_who_keeps_to_the_limit_is_never_refused(interval: float) -> None:
    """Intervals are no exact fractions in binary, and count as such nevertheless."""
    limit = RateLimit(interval, 1)
    nanoseconds = round(interval * 1e9)
    assert all(limit.allow(number * nanoseconds / 1e9) for number in range(10_000))


def test_a_refusal_costs_nothing() -> None:
    """A client that asks too often still gets its share, however often it was refused."""
    limit = RateLimit(1, 2)
    assert sum(limit.allow(number / 1000) for number in range(10_000)) == 2 + 9


@settings(max_examples=200, deadline=None)
@given(
    interval=st.integers(1, 50),
    burst=st.integers(0, 5),
    steps=st.lists(st.integers(0, 120), max_size=60),
)
def test_it_is_a_bucket_of_tokens(interval: int, burst: int, steps: list[int]) -> None:
    """Whenever requests come, exactly those pass for which a token has come by then."""
    limit = RateLimit(interval / 1000, burst)
    tokens, milliseconds = Fraction(burst), 0
    for step in steps:
        milliseconds += step
        tokens = min(Fraction(burst), tokens + Fraction(step, interval))
        allowed = limit.allow(milliseconds / 1000)
        assert allowed == (tokens >= 1)
        tokens -= allowed
