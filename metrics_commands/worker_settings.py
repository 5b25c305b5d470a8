"""The settings that workers go by, where they count; a wrong one is as if it were not there."""

from __future__ import annotations

import math
from typing import Any

from . import parsers
from .setting import Setting

DEFAULT_BUCKETS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0, 25.0, 50.0, 75.0, math.inf,
)  # fmt: skip
DEFAULT_BYTES_BUCKETS = (0.0, *(2.0**power for power in range(30)), math.inf)

LATENCY_BUCKETS: Setting[tuple[float, ...]] = Setting(
    "PROMETHEUS_LATENCY_BUCKETS",
    parsers.parse_buckets,
    DEFAULT_BUCKETS,
    "Upper bounds in seconds of the latency histograms' buckets, ascending.",
    in_environment=False,
)
BYTES_BUCKETS: Setting[tuple[float, ...]] = Setting(
    "PROMETHEUS_BYTES_BUCKETS",
    parsers.parse_buckets,
    DEFAULT_BYTES_BUCKETS,
    "Upper bounds of the body histograms' buckets, ascending.",
    in_environment=False,
)
MAX_LABEL_SETS = Setting(
    "PROMETHEUS_MAX_LABEL_SETS",
    parsers.parse_count,
    2000,
    "Sets of label values that a family may have in one process; beyond, they count as <other>.",
)
EXCLUDE_VIEWS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_EXCLUDE_VIEWS",
    parsers.parse_names,
    (),
    "Names of views that are not counted; * and ? stand for any letters and one.",
)
TRUST_REQUEST_START = Setting(
    "PROMETHEUS_TRUST_REQUEST_START",
    parsers.parse_switch,
    False,
    "Whether a proxy in front always sets X-Request-Start, so that the time in its queue is known.",
)
WORKER_SETTINGS: tuple[Setting[Any], ...] = (
    LATENCY_BUCKETS,
    BYTES_BUCKETS,
    MAX_LABEL_SETS,
    EXCLUDE_VIEWS,
    TRUST_REQUEST_START,
)
