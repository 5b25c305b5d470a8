"""A limit on how often something may happen: a bucket of tokens that refills steadily."""

from __future__ import annotations

import time

NANOSECONDS = 1_000_000_000


class RateLimit:
    """Allow ``burst`` at once, and one more per interval; without an interval there is no limit.

    A limit with a burst of 0 allows nothing.
    """

    def __init__(self, interval_seconds: float, burst: int) -> None:
        # Whole numbers: with fractions, who keeps exactly to the limit would be refused at times.
        self._interval = round(interval_seconds * NANOSECONDS)
        self._span = self._interval * burst
        self._full_at = 0

    def allow(self, now: float | None = None) -> bool:
        """Take a token, or say that there is none; ``now`` is of the monotonic clock."""
        if self._interval <= 0:
            return True
        moment = time.monotonic_ns() if now is None else round(now * NANOSECONDS)
        # What is kept is when the bucket will be full: each token that is missing is an interval.
        full_at = max(self._full_at, moment) + self._interval
        if full_at - moment > self._span:
            return False
        self._full_at = full_at
        return True
