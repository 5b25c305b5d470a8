"""Merge columns of numbers, one a worker, into one column of totals, by the kind of the files."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .entries import Key, Labels
from .source import SourceFile

Series = tuple[str, Labels]
# A metric and one of its series: what is damaged may give two metrics the same series.
Row = tuple[str, Series]
ARCHIVE = "archive"
PER_WORKER = {"gauge_all", "gauge_liveall"}
SUMMED = {"counter", "summary", "histogram", "gauge_sum", "gauge_livesum"}


@dataclass
class Column:
    """How to fetch one file's numbers: ``rows`` is None where it has every row, in order."""

    source: SourceFile
    get: Callable[[memoryview[float]], tuple[float, ...]]
    rows: list[int] | None = None


@dataclass
class Group:
    """All files of one kind, and the rows of the table that they fill."""

    kind: str
    rows: dict[Row, int]
    columns: list[Column] = field(default_factory=list)

    def merge(self) -> list[float | None]:
        """Return the total of each row; None where nobody has set it."""
        if self.kind in SUMMED:
            return self._sum()
        if self.kind.endswith("mostrecent"):
            return self._take_most_recent()
        return self._choose()

    def _sum(self) -> list[float | None]:
        whole = [column.get(column.source.view) for column in self.columns if column.rows is None]
        totals: list[float] = (
            list(map(sum, zip(*whole, strict=True))) if whole else [0.0] * len(self.rows)
        )
        for column in self.columns:
            if column.rows is not None:
                numbers = column.get(column.source.view)
                for row, number in zip(column.rows, numbers, strict=True):
                    totals[row] += number
        return list(totals)

    def _choose(self) -> list[float | None]:
        """Merge minima and maxima; of all others each row has one file."""
        better: Callable[[float, float], bool] = (
            operator.gt if self.kind.endswith("max") else operator.lt
        )
        chosen: list[float | None] = [None] * len(self.rows)
        for column in self.columns:
            rows = column.rows if column.rows is not None else range(len(self.rows))
            for row, number in zip(rows, column.get(column.source.view), strict=True):
                current = chosen[row]
                if current is None or better(number, current):
                    chosen[row] = number
        return chosen

    def _take_most_recent(self) -> list[float | None]:
        latest = [0.0] * len(self.rows)
        chosen: list[float | None] = [None] * len(self.rows)
        for column in self.columns:
            rows = column.rows if column.rows is not None else range(len(self.rows))
            pairs = column.get(column.source.view)
            for row, number, timestamp in zip(rows, pairs[0::2], pairs[1::2], strict=True):
                if latest[row] < timestamp:
                    latest[row], chosen[row] = timestamp, number
        return chosen


def series_of(key: Key, kind: str, worker: str) -> Series:
    """Return the row that an entry belongs to; gauges of each worker keep apart by ``pid``."""
    if kind in PER_WORKER:
        # A label of that name, twice in one sample, would have the page refused.
        return key.sample, tuple(sorted({**dict(key.labels), "pid": worker}.items()))
    if kind == "histogram" and key.bound is not None:
        return f"{key.metric}_bucket", key.bucket
    return key.sample, key.labels


def make_group(kind: str, sources: Sequence[SourceFile], order: Iterable[Row]) -> Group:
    """Prepare the merge of one kind's files into rows of the given order."""
    group = Group(kind, {each: row for row, each in enumerate(order)})
    known: dict[tuple[int, str], list[Column]] = {}
    for source in sources:
        shape = (id(source.layout), source.worker if kind in PER_WORKER else "")
        if shape not in known:
            known[shape] = [_make_column(group, source, each) for each in _place(group, source)]
        group.columns += [Column(source, each.get, each.rows) for each in known[shape]]
    return group


def _place(group: Group, source: SourceFile) -> list[dict[int, int]]:
    """Return where a file has each row's number; a second place for one that it has twice."""
    places: list[dict[int, int]] = []
    times: Counter[int] = Counter()
    for key, double in zip(source.layout.keys, source.layout.doubles, strict=True):
        series = key and (key.metric, series_of(key, group.kind, source.worker))
        row = group.rows.get(series) if series else None
        if row is None:
            continue
        if times[row] == len(places):
            places.append({})
        places[times[row]][row] = double
        times[row] += 1
    return places


def _make_column(group: Group, source: SourceFile, doubles: dict[int, int]) -> Column:
    """Return how to fetch a file's numbers."""
    whole = len(doubles) == len(group.rows)
    rows = range(len(group.rows)) if whole else sorted(doubles)
    indices = [doubles[row] for row in rows]
    if group.kind.endswith("mostrecent"):
        indices = [index for double in indices for index in (double, double + 1)]
    return Column(source, _getter(indices), None if whole else list(rows))


def _getter(indices: list[int]) -> Callable[[memoryview[float]], tuple[float, ...]]:
    if len(indices) == 1:
        (index,) = indices
        return lambda view: (view[index],)
    return operator.itemgetter(*indices)
