"""One metric of the page: its names, its header, and its series in their order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from .entries import Key
from .lines import exposed_name, is_legal, is_shown, write_name
from .merging import Group, Series

Numbers = list[float | None]
# The names that OpenMetrics keeps for a family beside its own.
KEPT_SUFFIXES = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "summary": ("_count", "_sum", "_created"),
}


@dataclass
class Family:
    """One metric: ``series`` are its rows on the page, ``first`` to ``last`` those of its group."""

    name: str
    type: str
    help: str
    series: list[Series]
    group: Group
    first: int
    last: int
    arrange: Callable[[Numbers], Numbers]

    @cached_property
    def legal(self) -> bool:
        """Tell whether any parser reads all names as they are."""
        names = {name for name, _ in self.series}
        labels = {label for _, pairs in self.series for label, _ in pairs}
        return is_legal({self.name, *names}, labels)

    def write_header(self, escaping: str, *, openmetrics: bool) -> str:
        """Return the HELP and TYPE lines, each after a newline."""
        name = self.name if openmetrics else exposed_name(self.name, self.type)
        shown = write_name(name, escaping)
        documentation = self.help.replace("\\", r"\\").replace("\n", r"\n")
        if openmetrics:
            documentation = documentation.replace('"', r"\"")
        return f"\n# HELP {shown} {documentation}\n# TYPE {shown} {self.type}"

    def list_names(self, *, openmetrics: bool) -> set[str]:
        """Return the names that no other family of the page may have, escaped and as they are."""
        names = [exposed_name(self.name, self.type)]
        if openmetrics:
            suffixes = ("", *KEPT_SUFFIXES.get(self.type, ()))
            names = [self.name + suffix for suffix in suffixes]
        return {self.name, *map(write_name, names)}

    def is_named(self, names: Collection[str], escaping: str) -> bool:
        """Tell whether names have this family, as any format shows it."""
        both = (self.name, exposed_name(self.name, self.type))
        return any(is_shown(each, names, escaping) for each in both)


def find_clashing(families: Iterable[Family]) -> set[str]:
    """Return the families of which OpenMetrics keeps a name for one before them."""
    taken: set[str] = set()
    clashing: set[str] = set()
    for family in families:
        names = family.list_names(openmetrics=True)
        if taken.isdisjoint(names):
            taken |= names
        else:
            clashing.add(family.name)
    return clashing


def arrange_rows(
    kind: str, name: str, found: Mapping[Series, Key]
) -> tuple[list[Series], list[Series], Callable[[Numbers], Numbers]]:
    """Return a family's rows, its series on the page, and how the numbers become those."""
    if kind != "histogram":
        # By labels first: OpenMetrics wants a summary's count and sum next to each other.
        rows = sorted(found, key=operator.itemgetter(1, 0))
        return rows, rows, _as_they_are
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, Series]]] = {}
    others: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for series, key in found.items():
        if key.bound is None:
            others.setdefault(key.labels, []).append(series)
        else:
            labels = tuple(item for item in key.labels if item[0] != "le")
            buckets.setdefault(labels, []).append((key.bound, series))
    rows, shown = [], []
    spans: list[tuple[int, int]] = []
    for labels in sorted({*buckets, *others}):
        bounds = [series for _, series in sorted(buckets.get(labels, ()))]
        count: Series = (f"{name}_count", labels)
        rest = sorted(series for series in others.get(labels, ()) if not bounds or series != count)
        rows += [*bounds, *rest]
        shown += [*bounds, *([count] if bounds else []), *rest]
        spans.append((len(bounds), len(rest)))
    return rows, shown, lambda numbers: accumulate_buckets(numbers, spans)


def _as_they_are(numbers: Numbers) -> Numbers:
    return numbers


def accumulate_buckets(numbers: Numbers, spans: Iterable[tuple[int, int]]) -> Numbers:
    """Turn counts between bounds into counts up to each bound, and add how many there are."""
    arranged: Numbers = []
    start = 0
    for bounds, rest in spans:
        if bounds:
            arranged += accumulate(numbers[start : start + bounds])
            arranged.append(arranged[-1])
        arranged += numbers[start + bounds : start + bounds + rest]
        start += bounds + rest
    return arranged
