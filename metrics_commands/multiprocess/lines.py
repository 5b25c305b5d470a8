"""How names, labels and numbers are written in the text format 0.0.4."""

from __future__ import annotations

import math
from functools import lru_cache

from prometheus_client.openmetrics.exposition import (
    UNDERSCORES,
    escape_label_name,
    escape_metric_name,
)
from prometheus_client.utils import floatToGoString

from .merging import Series


def write_series(series: Series) -> str:
    """Return ``name{label="value",…}`` and a blank."""
    name, labels = series
    pairs = ",".join(map(write_pair, labels))
    shown = legal_name(name)
    return f"{shown}{{{pairs}}} " if pairs else f"{shown} "


@lru_cache(8192)
def legal_name(name: str) -> str:
    """Return a metric's name with each character that the format does not know replaced."""
    return str(escape_metric_name(name, UNDERSCORES))


@lru_cache(8192)
def write_pair(pair: tuple[str, str]) -> str:
    """Return ``label="value"``, in legal characters."""
    label, value = pair
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{escape_label_name(label, UNDERSCORES)}="{escaped}"'


def exposed_name(name: str, kind: str) -> str:
    """Return a family's name in the text format, where counters are named like their samples."""
    return legal_name(f"{name}_total" if kind == "counter" else name)


def format_number(number: float) -> str:
    """Write a number as Prometheus reads it."""
    return repr(number) if math.isfinite(number) else str(floatToGoString(number))  # type: ignore[no-untyped-call]
