"""All rows of a page: which series there are, in which order, and how they are written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import DOTS, UNDERSCORES
from prometheus_client.samples import Sample

from .dialect import Dialect, make_dialect
from .entries import Key
from .family import Family, Numbers, arrange_rows, find_clashing
from .lines import exposed_name, format_number, is_shown, write_name, write_series
from .merging import (
    ARCHIVE,
    PER_WORKER,
    Group,
    Likeness,
    Row,
    Series,
    group_alike,
    make_group,
    series_of,
)
from .source import Layout, SourceFile


@dataclass
class Merged:
    """The merged numbers of one moment, as bytes of a page or as prometheus_client's families."""

    table: Table
    numbers: list[Numbers]

    @property
    def names(self) -> frozenset[str]:
        """Return the names that no other family may have, in whatever format."""
        return self.table.names

    def render(
        self,
        skip: Collection[str] = (),
        *,
        openmetrics: bool = False,
        escaping: str = UNDERSCORES,
        names: Collection[str] = (),
    ) -> bytes:
        """Return the families as text, without those that would take one of the names to skip.

        Where there are ``names``, of families or of samples, only these. There is no end mark.
        """
        dialect = self.table.speak(escaping, openmetrics=openmetrics)
        values: list[Any] = list(chain.from_iterable(self.numbers))
        whole = not self.table.may_lack_numbers or None not in values
        partly = names or self.table.hidden or dialect.clashing
        if partly or not whole or not dialect.names.isdisjoint(skip):
            page = "".join(self._render_slowly(dialect, skip, names))
            return f"{page[1:]}\n".encode() if page else b""
        parts = dialect.parts.copy()
        parts[1::2] = map(repr, values) if _all_finite(values) else map(format_number, values)
        return "".join(parts).encode()

    def _render_slowly(
        self, dialect: Dialect, skip: Collection[str], names: Collection[str]
    ) -> Iterator[str]:
        hidden, end = self.table.hidden, 0
        for family, numbers in zip(self.table.families.values(), self.numbers, strict=True):
            start, end = end, end + len(numbers)
            taken = not family.list_names(openmetrics=dialect.openmetrics).isdisjoint(skip)
            if taken or family.name in dialect.clashing:
                continue
            rows = list(zip(family.series, dialect.texts[start:end], numbers, strict=True))
            if names and not family.is_named(names, dialect.escaping):
                rows = [row for row in rows if is_shown(row[0][0], names, dialect.escaping)]
            if rows:
                yield family.write_header(dialect.escaping, openmetrics=dialect.openmetrics)
            for series, text, number in rows:
                if number is None or (hidden and (family.name, series) in hidden):
                    continue
                yield f"{text}{format_number(number)}"

    def families(self, names: Collection[str] = ()) -> Iterator[Metric]:
        """Yield the families, or only those of some names."""
        for family, numbers in zip(self.table.families.values(), self.numbers, strict=True):
            if names and family.name not in names:
                continue
            metric = Metric(family.name, family.help, family.type)
            metric.samples = [
                Sample(name, dict(labels), number)
                for (name, labels), number in zip(family.series, numbers, strict=True)
                if number is not None
            ]
            yield metric


@dataclass
class Table:
    """The rows that a set of files has: rebuilt when entries come or go, else only refilled.

    ``texts`` has each series as it is written, with underscores for what not every parser reads;
    ``hidden`` are series that would stand there twice, which Prometheus refuses, and ``clashing``
    families that OpenMetrics has no name for. ``conflicts`` are files of which something cannot
    be served, with the reason.
    """

    groups: list[Group] = field(default_factory=list)
    families: dict[str, Family] = field(default_factory=dict)
    texts: dict[Series, str] = field(default_factory=dict)
    hidden: set[Row] = field(default_factory=set)
    clashing: set[str] = field(default_factory=set)
    conflicts: dict[str, str] = field(default_factory=dict)
    layouts: dict[Likeness, Layout] = field(default_factory=dict)
    _written: dict[str, list[str]] = field(default_factory=dict)
    _dialects: dict[tuple[str, bool], Dialect] = field(default_factory=dict)

    @cached_property
    def legal(self) -> bool:
        """Tell whether any parser reads all names as they are."""
        return all(family.legal for family in self.families.values())

    @cached_property
    def names(self) -> frozenset[str]:
        """Return the names that no other family may have, in whatever format."""
        families = self.families.values()
        return frozenset().union(*(each.list_names(openmetrics=True) for each in families))

    def speak(self, escaping: str, *, openmetrics: bool) -> Dialect:
        """Return how the page is written, which is made when it is first asked for."""
        if self.legal and escaping != DOTS:
            escaping = UNDERSCORES
        known = self._dialects.get((escaping, openmetrics))
        if known is None:
            clashing = self.clashing if openmetrics else set()
            texts = self._write(escaping)
            families = self.families.values()
            known = make_dialect(escaping, families, texts, clashing, openmetrics=openmetrics)
            self._dialects[escaping, openmetrics] = known
        return known

    def _write(self, escaping: str) -> list[str]:
        """Return the series as text, in their order; where nothing is escaped, it is shared."""
        if escaping not in self._written:
            texts: list[str] = []
            for family in self.families.values():
                if escaping == UNDERSCORES or (family.legal and escaping != DOTS):
                    texts += map(self.texts.__getitem__, family.series)
                else:
                    texts += (write_series(series, escaping) for series in family.series)
            self._written[escaping] = texts
        return self._written[escaping]

    @property
    def may_lack_numbers(self) -> bool:
        """Tell whether there are series that nobody may have set."""
        return any(group.kind.endswith("mostrecent") for group in self.groups)

    def regroup(self, sources: Iterable[SourceFile]) -> bool:
        """Take other files, as when workers die; return False where it has to be built anew."""
        alike = group_alike(sources)
        if self.conflicts or alike.keys() != self.layouts.keys():
            return False
        for group in self.groups:
            for column in group.columns:
                column.sources = alike[column.likeness]
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
    table.layouts = {likeness: each[0].layout for likeness, each in group_alike(sources).items()}
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
    table.clashing = find_clashing(table.families.values())
    write_texts(table, texts)
    if table.hidden or table.clashing:
        note_left_out(table, sources)
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
        shown = write_name(exposed_name(name, kind.split("_")[0]))
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
        worker = source.worker if kind in PER_WORKER else ""
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


def write_texts(table: Table, known: Mapping[Series, str]) -> None:
    """Write all series, and find those that are written alike."""
    there: set[str] = set()
    for family in table.families.values():
        for series in family.series:
            written = known.get(series) or write_series(series)
            table.texts[series] = written
            if written in there:
                table.hidden.add((family.name, series))
            there.add(written)


def note_left_out(table: Table, sources: Iterable[SourceFile]) -> None:
    """Note the files that have a hidden series, or a family that clashes."""
    for source in sources:
        keys = [key for key in source.layout.keys if key]
        rows = ((key.metric, series_of(key, source.kind, source.worker)) for key in keys)
        if not table.hidden.isdisjoint(rows):
            table.conflicts.setdefault(source.path, "duplicate")
        elif not table.clashing.isdisjoint(key.metric for key in keys):
            table.conflicts.setdefault(source.path, "clash")


def _all_finite(numbers: Iterable[float]) -> bool:
    # One infinite or undefined number makes the sum so; an overflow only costs the slower way.
    return math.isfinite(sum(numbers))
