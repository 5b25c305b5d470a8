"""Families whose numbers are stored by position, and the collector that shows them in-process.

In value files they look as prometheus_client's own do, so that any reader of the format has them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import REGISTRY, Metric
from prometheus_client.utils import floatToGoString

from .. import exporter_settings, worker_settings
from ..multiprocess.numbers import NumberFile
from .guard import report_loss
from .store import Slot, Store, current_store

OTHER = "<other>"
MOST_REFUSED = 10_000
DROPPED = "django_exporter_label_sets_dropped"
FAMILIES: dict[str, Family] = {}


class Family(ABC):
    """A metric that this process counts; ``name`` without ``_total``, ``kind`` as files say it.

    Its name is all that it is known by: threads that declare it together count into the same cells.
    """

    kind = ""
    type = ""

    def __init__(self, name: str, documentation: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.documentation = documentation
        self.labels = tuple(labels)
        FAMILIES.setdefault(name, self)

    def cell(self, *values: str) -> Any:
        """Return where the numbers of some label values stand, in the order of the labels."""
        store = current_store()
        found = store.cells.get((self.name, values))
        return found if found is not None else self._add(store, values)

    def _add(self, store: Store, values: tuple[str, ...]) -> Any:
        with store.lock:
            if self._is_full(store, values):
                self._note_refusal(store, values)
                return self.cell(*(OTHER for _ in values))
            if (self.name, values) not in store.cells:
                store.cells[self.name, values] = self._make(store, values)
                store.sizes[self.name] += 1
            return store.cells[self.name, values]

    def _is_full(self, store: Store, values: tuple[str, ...]) -> bool:
        if not values or OTHER in values or self is LABEL_SETS_DROPPED:
            return False
        return store.sizes[self.name] >= most_label_sets()

    def _note_refusal(self, store: Store, values: tuple[str, ...]) -> None:
        """Count a set of label values that is refused, once while it is remembered."""
        if (self.name, values) not in store.refused:
            if len(store.refused) < MOST_REFUSED:
                store.refused.add((self.name, values))
            LABEL_SETS_DROPPED.inc(self.name)

    @abstractmethod
    def _make(self, store: Store, values: tuple[str, ...]) -> Any:
        """Return a new cell."""

    def _key(self, sample: str, labels: dict[str, str]) -> str:
        return json.dumps([self.name, sample, labels, self.documentation], sort_keys=True)

    def collect(self, store: Store) -> Metric | None:
        """Return the family as prometheus_client has it; None where nothing was counted."""
        cells = [
            (values, cell)
            for (name, values), cell in list(store.cells.items())
            if name == self.name
        ]
        if not cells:
            return None
        family = Metric(self.name, self.documentation, self.type)
        for values, cell in cells:
            self._show(family, dict(zip(self.labels, values, strict=True)), cell)
        return family

    @abstractmethod
    def _show(self, family: Metric, labels: dict[str, str], cell: Any) -> None:
        """Add a cell's samples to a family."""


class Number(Family):
    """One number for each set of label values; its cell is one Slot."""

    suffix = ""

    def _make(self, store: Store, values: tuple[str, ...]) -> Slot:
        labels = dict(zip(self.labels, values, strict=True))
        [slot] = store.add(self.kind, [self._key(f"{self.name}{self.suffix}", labels)])
        return slot

    def _show(self, family: Metric, labels: dict[str, str], cell: Slot) -> None:
        value = cell.numbers.view[cell.position]
        family.add_sample(f"{self.name}{self.suffix}", labels, value)


class Counter(Number):
    """A count."""

    kind = type = "counter"
    suffix = "_total"

    def inc(self, *values: str, amount: float = 1.0) -> None:
        """Add to the number of some label values; a failure is logged once, and never raised."""
        try:
            with current_store().lock:
                numbers, position = self.cell(*values)
                numbers.view[position] += amount
        except Exception:
            report_loss(self.name)


class Gauge(Counter):
    """A number that goes up and down: the sum over all workers that live."""

    kind = "gauge_livesum"
    type = "gauge"
    suffix = ""


class LatestGauge(Number):
    """A number as any process has set it last; it outlives the process."""

    kind = "gauge_mostrecent"
    type = "gauge"

    def set(self, value: float, *values: str, moment: float) -> None:
        """Set the number of some label values; a failure is logged once, and never raised.

        ``moment`` is when, in Unix time: of several processes the latest is shown.
        """
        self._put(value, values, moment, onto=False)

    def add(self, amount: float, *values: str, moment: float) -> None:
        """Do the same, but add to the number that this process has set."""
        self._put(amount, values, moment, onto=True)

    def _put(self, value: float, values: tuple[str, ...], moment: float, *, onto: bool) -> None:
        try:
            with current_store().lock:
                numbers, position = self.cell(*values)
                view = numbers.view
                view[position] = value + (view[position] if onto else 0.0)
                if isinstance(numbers, NumberFile):
                    # It stands beside the value, and comes last: without it nothing is shown.
                    view[position + 1] = moment
        except Exception:
            report_loss(self.name)


class Cells(NamedTuple):
    """Where a histogram's numbers stand: one for each bucket, the sum, and the bucket of zero."""

    numbers: Any
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    sum: int
    zero: int

    def observe(self, value: float) -> None:
        """Count a value, under the store's lock."""
        numbers, bounds, buckets, total, zero = self
        if value:
            view = numbers.view
            view[buckets[bisect_left(bounds, value)]] += 1.0
            view[total] += value
        else:
            numbers.view[zero] += 1.0


class Histogram(Family):
    """A distribution; ``bounds`` end with infinity."""

    kind = type = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        bounds: Sequence[float],
    ) -> None:
        super().__init__(name, documentation, labels)
        self.bounds = tuple(bounds)
        self._texts = [str(floatToGoString(bound)) for bound in bounds]  # type: ignore[no-untyped-call]

    def observe(self, value: float, *values: str) -> None:
        """Count a value for some label values; a failure is logged once, and never raised."""
        try:
            with current_store().lock:
                self.cell(*values).observe(value)
        except Exception:
            report_loss(self.name)

    def _make(self, store: Store, values: tuple[str, ...]) -> Cells:
        labels = dict(zip(self.labels, values, strict=True))
        keys = [self._key(f"{self.name}_bucket", labels | {"le": text}) for text in self._texts]
        slots = store.add(self.kind, [self._key(f"{self.name}_sum", labels), *keys])
        positions = [slot.position for slot in slots]
        total, *buckets = positions
        zero = buckets[bisect_left(self.bounds, 0.0)]
        return Cells(slots[0].numbers, self.bounds, tuple(buckets), total, zero)

    def _show(self, family: Metric, labels: dict[str, str], cell: Cells) -> None:
        view = cell.numbers.view
        counts = list(accumulate(view[position] for position in cell.buckets))
        for text, count in zip(self._texts, counts, strict=True):
            family.add_sample(f"{self.name}_bucket", labels | {"le": text}, count)
        family.add_sample(f"{self.name}_count", labels, counts[-1])
        family.add_sample(f"{self.name}_sum", labels, view[cell.sum])


LABEL_SETS_DROPPED = Counter(
    DROPPED, "Sets of label values that count as <other>, since their family was full.", ["family"]
)


@cache
def most_label_sets() -> int:
    """Return how many sets of label values a family may have in one process."""
    return worker_settings.MAX_LABEL_SETS.resolve_or_default()


@cache
def prefix() -> str:
    """Return what the names of django-prometheus's families begin with."""
    namespace = exporter_settings.NAMESPACE.resolve_or_default()
    return f"{namespace}_" if namespace else ""


class InstrumentCollector:
    """Show this process's families in prometheus_client's default registry.

    ``describe`` returns nothing, so that the names may be declared by others as well: an old
    migration may still import django_prometheus.
    """

    written_by_workers = True

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        store = current_store()
        for family in list(FAMILIES.values()):
            with store.lock:
                shown = family.collect(store)
            if shown is not None:
                yield shown


@cache
def register() -> None:
    """Register the collector, once in a process."""
    REGISTRY.register(InstrumentCollector())
