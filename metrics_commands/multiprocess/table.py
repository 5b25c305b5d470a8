"""All rows of a page: which series there are, in which order, and how they are written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Any

from prometheus_client import Metric
from prometheus_client.samples import Sample

from .entries import Key
from .lines import exposed_name, format_number, write_series
from .merging import ARCHIVE, Group, Row, Series, Shape, group_alike, make_group, series_of
from .source import Layout, SourceFile

Numbers = list[float | None]


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

    @property
    def header(self) -> str:
        """Return the HELP and TYPE lines."""
        name = exposed_name(self.name, self.type)
        documentation = self.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {name} {documentation}\n# TYPE {name} {self.type}\n"


@dataclass
class Merged:
    """The merged numbers of one moment, as bytes of a page or as prometheus_client's families."""

    table: Table
    numbers: list[Numbers]

    @property
    def names(self) -> KeysView[str]:
        """Return the names of the families."""
        return self.table.families.keys()

    def render(self, skip: Collection[str] = ()) -> bytes:
        """Return the families in the text format 0.0.4, all but those to skip."""
        values: list[Any] = list(chain.from_iterable(self.numbers))
        whole = not self.table.may_lack_numbers or None not in values
        if not whole or self.table.hidden or not self.names.isdisjoint(skip):
            return "".join(self._render_slowly(skip)).encode()
        parts = self.table.parts.copy()
        parts[1::2] = map(repr, values) if _all_finite(values) else map(format_number, values)
        return "".join(parts).encode()

    def _render_slowly(self, skip: Collection[str]) -> Iterator[str]:
        for family, numbers in zip(self.table.families.values(), self.numbers, strict=True):
            if family.name in skip:
                continue
            yield family.header
            for series, number in zip(family.series, numbers, strict=True):
                if number is not None and (family.name, series) not in self.table.hidden:
                    yield f"{self.table.texts[series]}{format_number(number)}\n"

    def families(self, units: Mapping[str, str]) -> Iterator[Metric]:
        """Yield the families; their units, which files do not carry, are given."""
        for family, numbers in zip(self.table.families.values(), self.numbers, strict=True):
            metric = Metric(family.name, family.help, family.type, units.get(family.name, ""))
            metric.samples = [
                Sample(name, dict(labels), number)
                for (name, labels), number in zip(family.series, numbers, strict=True)
                if number is not None
            ]
            yield metric


@dataclass
class Table:
    """The rows that a set of files has: rebuilt when entries come or go, else only refilled.

    ``parts`` is the page with room for a number after each text; ``texts`` has each series as it
    is written; ``hidden`` are series that would stand there twice, which Prometheus refuses.
    ``conflicts`` are files of which something cannot be served, with the reason.
    """

    groups: list[Group] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    texts: dict[Series, str] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    hidden: set[Row] = field(default_factory=set)
    conflicts: dict[str, str] = field(default_factory=dict)
    layouts: dict[Shape, Layout] = field(default_factory=dict)

    @property
    def may_lack_numbers(self) -> bool:
        """Tell whether there are series that nobody may have set."""
        return any(group.kind.endswith("mostrecent") for group in self.groups)

    def regroup(self, sources: Iterable[SourceFile]) -> bool:
        """Take other files of the same layouts, as when workers die; tell whether they are."""
        alike = group_alike(sources)
        if self.conflicts or alike.keys() != self.layouts.keys():
            return False
        for group in self.groups:
            for column in group.columns:
                column.sources = alike[column.shape]
        return True

    def merge(self) -> Merged:
        """Fetch the numbers of this moment."""
        totals = {id(group): group.merge() for group in self.groups}
        return Merged(
            self,
            [
                family.arrange(totals[id(family.group)][family.first : family.last])
                for family in self.families.values()
            ],
        )


def build_table(sources: Sequence[SourceFile], texts: Mapping[Series, str]) -> Table:
    """Make the table of these files; ``texts`` are known from the table before."""
    table = Table()
    # Kept, so that an identity that is compared later is still that of the same layout.
    table.layouts = {shape: each[0].layout for shape, each in group_alike(sources).items()}
    kinds = choose_kinds(sources, table.conflicts)
    for kind in sorted({source.kind for source in sources}):
        files = [source for source in sources if source.kind == kind]
        found = find_series(kind, files, kinds, table.conflicts)
        metrics = sorted(found)
        order: list[Row] = []
        group = Group(kind, {})
        for name in metrics:
            help_text, series = found[name]
            rows, shown, arrange = arrange_rows(kind, name, series)
            first = len(order)
            order += [(name, row) for row in rows]
            table.families[name] = Family(
                name, kind.split("_")[0], help_text, shown, group, first, len(order), arrange
            )
        made = make_group(kind, files, order)
        group.rows, group.columns = made.rows, made.columns
        table.groups.append(group)
    table.families = dict(sorted(table.families.items()))
    write_texts(table, texts)
    if table.hidden:
        note_duplicates(table, sources)
    return table


def choose_kinds(sources: Iterable[SourceFile], conflicts: dict[str, str]) -> dict[str, str]:
    """Return the kind of each metric: what most files say, where they do not agree."""
    votes: dict[str, Counter[str]] = {}
    names: dict[int, set[str]] = {}
    for source in sources:
        layout = source.layout
        if id(layout) not in names:
            names[id(layout)] = {key.metric for key in layout.keys if key}
        for name in names[id(layout)]:
            # What the living say of a metric counts, and the archive only where none does.
            votes.setdefault(name, Counter())[source.kind] += source.worker != ARCHIVE
    chosen: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name, counted in sorted(votes.items()):
        kind = min(counted, key=lambda each: (-counted[each], each))
        # A counter `a` and a gauge `a_total` would be one name on the page.
        shown = exposed_name(name, kind.split("_")[0])
        if owners.setdefault(shown, name) == name:
            chosen[name] = kind
    for source in sources:
        if any(chosen.get(name) != source.kind for name in names[id(source.layout)]):
            conflicts[source.path] = "conflict"
    return chosen


def find_series(
    kind: str, sources: Sequence[SourceFile], kinds: Mapping[str, str], conflicts: dict[str, str]
) -> dict[str, tuple[str, dict[Series, Key]]]:
    """Return for each metric of this kind its help text, of the living first, and its series."""
    found: dict[str, tuple[str, dict[Series, Key]]] = {}
    seen: set[tuple[int, str]] = set()
    otherwise: set[int] = set()
    for source in sorted(sources, key=lambda each: each.worker == ARCHIVE):
        worker = source.worker if kind in ("gauge_all", "gauge_liveall") else ""
        if (id(source.layout), worker) in seen:
            continue
        seen.add((id(source.layout), worker))
        for key in source.layout.keys:
            if key is not None and kinds.get(key.metric) == kind:
                help_text, series = found.setdefault(key.metric, (key.help, {}))
                series.setdefault(series_of(key, kind, source.worker), key)
                if key.help != help_text:
                    otherwise.add(id(source.layout))
    for source in sources:
        if id(source.layout) in otherwise and source.worker != ARCHIVE:
            conflicts.setdefault(source.path, "other_help")
    return found


def arrange_rows(
    kind: str, name: str, found: Mapping[Series, Key]
) -> tuple[list[Series], list[Series], Callable[[Numbers], Numbers]]:
    """Return a family's rows, its series on the page, and how the numbers become those."""
    if kind != "histogram":
        rows = sorted(found)
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


def write_texts(table: Table, known: Mapping[Series, str]) -> None:
    """Write all that the page has beside numbers."""
    parts: list[str] = []
    there: set[str] = set()
    for family in table.families.values():
        text = family.header
        for series in family.series:
            written = known.get(series) or write_series(series)
            table.texts[series] = written
            if written in there:
                table.hidden.add((family.name, series))
            there.add(written)
            parts += [f"\n{text}{written}" if parts else f"{text}{written}", ""]
            text = ""
    table.parts = [*parts, "\n"] if parts else []


def note_duplicates(table: Table, sources: Iterable[SourceFile]) -> None:
    """Note the files that have a hidden series."""
    for source in sources:
        keys = (key for key in source.layout.keys if key)
        rows = ((key.metric, series_of(key, source.kind, source.worker)) for key in keys)
        if not table.hidden.isdisjoint(rows):
            table.conflicts.setdefault(source.path, "duplicate")


def _all_finite(numbers: Iterable[float]) -> bool:
    # One infinite or undefined number makes the sum so; an overflow only costs the slower way.
    return math.isfinite(sum(numbers))
