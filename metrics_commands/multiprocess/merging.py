"""Merge columns of numbers, one a worker, into one column of totals, by the kind of the files."""

from __future__ import annotations

import operator
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .entries import Key, Labels
from .source import SourceFile

Series = tuple[str, Labels]
# A metric and one of its series: what is damaged may give two metrics the same series.
Row = tuple[str, Series]
# Kind, identity of the layout, and where each worker has series of its own, the worker.
Likeness = tuple[str, int, str]
# Stands for the worker in the names of archives.
ARCHIVE = "archive"
PER_WORKER = {"gauge_all", "gauge_liveall"}
SUMMED = {"counter", "summary", "histogram", "gauge_sum", "gauge_livesum"}


@dataclass
class Column:
    """Files of one layout: what to fetch of each, in its own order, and which rows that is.

    ``rows`` is None where they have every row of the table.
    """

    likeness: Likeness
    sources: list[SourceFile]
    fetch: Callable[[memoryview[float]], tuple[float, ...]]
    arrange: Callable[[Sequence[float]], Sequence[float]]
    rows: list[int] | None

    def add_up(self) -> Sequence[float]:
        """Return the sums over all files, in the order of the rows."""
        fetched = [self.fetch(source.view) for source in self.sources]
        return self.arrange(list(map(sum, zip(*fetched, strict=True))))


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
        sums = [column.add_up() for column in self.columns]
        whole = [each for each, column in zip(sums, self.columns, strict=True) if not column.rows]
        if len(whole) == len(sums) == 1:
            return list(whole[0])
        totals: list[float] = (
            list(map(sum, zip(*whole, strict=True))) if whole else [0.0] * len(self.rows)
        )
        for column, numbers in zip(self.columns, sums, strict=True):
            if column.rows is not None:
                for row, number in zip(column.rows, numbers, strict=True):
                    totals[row] += number
        return list(totals)

    def _fetch_each(self) -> Iterator[tuple[Iterable[int], Sequence[float]]]:
        for column in self.columns:
            rows = column.rows if column.rows is not None else range(len(self.rows))
            for source in column.sources:
                yield rows, column.arrange(column.fetch(source.view))

    def _choose(self) -> list[float | None]:
        """Merge minima and maxima; of all other kinds only one file fills each row."""
        better: Callable[[float, float], bool] = (
            operator.gt if self.kind.endswith("max") else operator.lt
        )
        chosen: list[float | None] = [None] * len(self.rows)
        for rows, numbers in self._fetch_each():
            for row, number in zip(rows, numbers, strict=True):
                current = chosen[row]
                if current is None or better(number, current):
                    chosen[row] = number
        return chosen

    def _take_most_recent(self) -> list[float | None]:
        latest = [0.0] * len(self.rows)
        chosen: list[float | None] = [None] * len(self.rows)
        for rows, pairs in self._fetch_each():
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
    for likeness, files in group_alike(sources).items():
        for place in _place(group, files[0]):
            group.columns.append(_make_column(group, likeness, files, place))
    return group


def group_alike(sources: Iterable[SourceFile]) -> dict[Likeness, list[SourceFile]]:
    """Return the files by what makes them fill the same rows from the same places."""
    alike: dict[Likeness, list[SourceFile]] = {}
    for source in sources:
        worker = source.worker if source.kind in PER_WORKER else ""
        alike.setdefault((source.kind, id(source.layout), worker), []).append(source)
    return alike


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


def _make_column(
    group: Group, likeness: Likeness, sources: list[SourceFile], doubles: dict[int, int]
) -> Column:
    """Return how to fetch these files' numbers; fetching in the files' own order is fastest."""
    whole = len(doubles) == len(group.rows)
    rows = range(len(group.rows)) if whole else sorted(doubles)
    width = 2 if group.kind.endswith("mostrecent") else 1
    positions = {double: place for place, double in enumerate(sorted(doubles.values()))}
    indices = [positions[doubles[row]] * width + offset for row in rows for offset in range(width)]
    return Column(
        likeness,
        sources,
        _fetcher(list(positions), width),
        _arranger(indices),
        None if whole else list(rows),
    )


def _fetcher(doubles: list[int], width: int) -> Callable[[memoryview[float]], tuple[float, ...]]:
    """Return what unpacks the numbers and skips all between them."""
    parts, end = ["="], 0
    for double in doubles:
        parts.append(f"{(double - end) * 8}x{width}d")
        end = double + width
    return struct.Struct("".join(parts)).unpack_from


def _arranger(indices: list[int]) -> Callable[[Sequence[float]], Sequence[float]]:
    if indices == list(range(len(indices))):
        return _as_fetched
    return operator.itemgetter(*indices)


def _as_fetched(numbers: Sequence[float]) -> Sequence[float]:
    return numbers
