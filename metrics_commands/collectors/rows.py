"""What a declared collector returns, as families: a number, a mapping, rows, or families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import SupportsFloat

from django.db.models import QuerySet
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from ..parsers import shorten

# Each is a series of Prometheus for ever; what has more is a table and no metric.
MOST_ROWS = 10_000


class Shape:
    """How rows are shown: as a counter where the name ends in ``_total``, else as a gauge."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self._make = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        self._name = name
        self._documentation = documentation
        self._labels = labels

    def show(self, found: object) -> Iterator[Metric]:
        """Yield families as they come, and in the end what rows there are as one."""
        family = self._make(self._name, self._documentation, labels=self._labels)
        seen: set[tuple[str, ...]] = set()
        for item in list_items(found):
            if isinstance(item, Metric):
                yield item
                continue
            values, number = self._read(item)
            if values in seen:
                raise ValueError(f"two rows have the label values {shorten(values)}")
            if len(seen) == MOST_ROWS:
                raise ValueError(f"there are more than {MOST_ROWS} rows")
            seen.add(values)
            if number is not None:
                family.add_metric(values, number)
        if family.samples:
            yield family

    def _read(self, item: object) -> tuple[tuple[str, ...], float | None]:
        row = tuple(item.values()) if isinstance(item, Mapping) else item
        if not isinstance(row, tuple | list) or len(row) != len(self._labels) + 1:
            wanted = ", ".join([*self._labels, "number"])
            raise ValueError(f"a row is {shorten(item)}, and should be ({wanted})")
        *values, number = row
        return tuple(map(str, values)), read_number(number)


def list_items(found: object) -> Iterable[object]:
    """Return rows, or families, or both, of whatever a function may return."""
    if isinstance(found, Mapping):
        keys = [key if isinstance(key, tuple) else (key,) for key in found]
        return [(*key, number) for key, number in zip(keys, found.values(), strict=True)]
    if isinstance(found, QuerySet):
        # A database shall not send millions for an error to be raised.
        first: Iterable[object] = found[: MOST_ROWS + 1]
        return first
    if isinstance(found, Metric):
        return [found]
    if isinstance(found, Iterable) and not isinstance(found, str | bytes):
        return found
    return [(found,)]


def read_number(value: object) -> float | None:
    """Return a number, seconds of a time span, or a Unix time; None is no sample."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, SupportsFloat):
        return float(value)
    raise TypeError(f"{shorten(value)} is no number")
