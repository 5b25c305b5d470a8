"""What a declared collector returns, as families: a number, a mapping, rows, or families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import SupportsFloat

from django.db.models import QuerySet
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from ..parsers import shorten
from .joining import list_names

# Each is a series of Prometheus for ever; what has more is a table and no metric.
MOST_ROWS = 10_000


def make_family(
    name: str, documentation: str, labels: tuple[str, ...]
) -> CounterMetricFamily | GaugeMetricFamily:
    """Return the family of rows: a counter where the name ends in ``_total``, else a gauge."""
    make = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return make(name, documentation, labels=labels)


class Shape:
    """How what a function returns is shown."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels

    def show(self, found: object) -> Iterator[Metric]:
        """Yield families as they come, and in the end what rows there are as one.

        A family that cannot be written is left out, which is an error once all others are there.
        """
        first = ""
        for family in self._list_families(found):
            mistake = find_mistake(family)
            first = first or mistake
            if not mistake:
                yield family
        if first:
            raise ValueError(first)

    def _list_families(self, found: object) -> Iterator[Metric]:
        family = make_family(self._name, self._documentation, self._labels)
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
            why = "" if self._labels else ": the collector names no labels"
            raise ValueError(f"a row is {shorten(item)}, and should be ({wanted}){why}")
        *values, number = row
        return tuple(map(str, values)), read_number(number)


def find_mistake(family: Metric) -> str:
    """Return why a family cannot be written, or would take another's name; "" if neither."""
    try:
        check(family)
    except Exception as error:
        told = f"{type(error).__name__} {shorten(str(error))}"
        return f"the family {shorten(family.name)} cannot be written: {told}"
    return ""


def check(family: Metric) -> None:
    """Raise if a name or label is no text, a value no number, or a sample another family's."""
    names = list_names(family.name, family.type)
    texts = [family.name, family.documentation]
    for sample in family.samples:
        if sample.name not in names:
            raise ValueError(f"the sample {shorten(sample.name)} is of another one")
        texts += sample.labels
        texts += sample.labels.values()
        float(sample.value)
        float(sample.timestamp or 0)
    "".join(texts).encode()


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
    raise TypeError(f"{shorten(value)} is not a number")
