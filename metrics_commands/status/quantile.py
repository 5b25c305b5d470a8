"""Quantiles out of buckets, by the rule that Prometheus has for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate


def estimate(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """Return the value below which a share of all lies, None where there is nothing.

    ``counts`` are those of each bucket alone. Within a bucket values count as spread evenly; of
    the last, which has no end, its beginning is all that is known.
    """
    totals = list(accumulate(counts))
    if not totals or totals[-1] <= 0:
        return None
    rank = share * totals[-1]
    place = next(place for place, total in enumerate(totals) if total >= rank and total > 0)
    finite = [bound for bound in bounds if math.isfinite(bound)]
    if place >= len(finite):
        return finite[-1] if finite else None
    below = totals[place - 1] if place else 0.0
    start = bounds[place - 1] if place else min(0.0, bounds[0])
    return start + (bounds[place] - start) * (rank - below) / counts[place]
