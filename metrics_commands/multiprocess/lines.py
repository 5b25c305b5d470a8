"""How names, labels and numbers are written, in the text formats and in OpenMetrics."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from functools import lru_cache

from prometheus_client.openmetrics.exposition import (
    UNDERSCORES,
    VALUES,
    escape_label_name,
    escape_metric_name,
)
from prometheus_client.utils import floatToGoString

from .merging import Series


def write_series(series: Series, escaping: str = UNDERSCORES) -> str:
    """Return ``name{label="value",…}`` and a blank, on a line of its own."""
    name, labels = series
    pairs = [write_pair(pair, escaping) for pair in labels]
    shown = write_name(name, escaping)
    if shown.startswith('"'):
        return f"\n{{{','.join([shown, *pairs])}}} "
    return f"\n{shown}{{{','.join(pairs)}}} " if pairs else f"\n{shown} "


@lru_cache(8192)
def write_name(name: str, escaping: str = UNDERSCORES) -> str:
    """Return a metric's name as a format shows it, quoted where it must be."""
    return str(escape_metric_name(_without_newline(name), escaping))


@lru_cache(8192)
def write_pair(pair: tuple[str, str], escaping: str) -> str:
    """Return ``label="value"``."""
    label, value = pair
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{escape_label_name(_without_newline(label), escaping)}="{escaped}"'


def is_shown(name: str, names: Collection[str], escaping: str) -> bool:
    """Tell whether names have this one, as it is or as the format shows it."""
    return name in names or write_name(name, escaping) in names


def is_legal(names: Iterable[str], labels: Iterable[str]) -> bool:
    """Tell whether any parser reads these names as they are."""
    return all(write_name(name, VALUES) == name for name in names) and all(
        escape_label_name(_without_newline(label), VALUES) == label for label in labels
    )


def _without_newline(name: str) -> str:
    # At the very end of a name prometheus_client takes it for legal, and leaves it.
    return f"{name[:-1]} " if name.endswith("\n") else name


def exposed_name(name: str, kind: str) -> str:
    """Return a family's name in the text formats, where counters are named like their samples."""
    return f"{name}_total" if kind == "counter" else name


def format_number(number: float) -> str:
    """Write a number as Prometheus reads it."""
    return repr(number) if math.isfinite(number) else str(floatToGoString(number))  # type: ignore[no-untyped-call]
