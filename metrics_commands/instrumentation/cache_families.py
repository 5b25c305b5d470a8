"""The families of caches: django-prometheus's four, and every operation by alias and result."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from .. import worker_settings
from .families import Cells, Counter, Histogram, prefix
from .guard import report_loss
from .request_rows import group
from .store import Store, current_store

HIT = "hit"
MISS = "miss"
OK = "ok"
REFUSED = "refused"
FAIL = "fail"

LOOKUPS = frozenset(["get", "get_many", "get_or_set"])


class CacheFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        name = f"{prefix()}django_cache"
        self.lookups = Counter(
            f"{name}_get", "Keys looked up by get, get_many or get_or_set.", ["backend"]
        )
        self.hits = Counter(f"{name}_get_hits", "Keys looked up and found.", ["backend"])
        self.misses = Counter(f"{name}_get_misses", "Keys looked up and not found.", ["backend"])
        self.failures = Counter(
            f"{name}_get_fail", "Lookups that ended with an exception.", ["backend"]
        )
        self.operations = Counter(
            f"{name}_operations",
            "Cache operations, by result; of get_many, each key that it found or missed.",
            ["alias", "operation", "result"],
        )
        self.seconds = Histogram(
            f"{name}_operation_duration_seconds",
            "Time of a cache operation, failed ones included.",
            ["alias", "operation"],
            bounds=worker_settings.LATENCY_BUCKETS.resolve_or_default(),
        )


@cache
def cache_families() -> CacheFamilies:
    """Return the families, declaring them at the first call."""
    return CacheFamilies()


class CacheKind(NamedTuple):
    """What is alike among operations that move the same numbers."""

    alias: str
    backend: str
    operation: str
    result: str


class CacheRow(NamedTuple):
    """Where the numbers of one CacheKind stand; ``counts`` are those that go up together."""

    counts: tuple[tuple[Any, tuple[int, ...]], ...]
    seconds: Cells


def record_operation(kind: CacheKind, seconds: float | None, amount: float = 1.0) -> None:
    """Count an operation, or some keys of it; None where its time is counted already."""
    try:
        store = current_store()
        row: CacheRow = store.rows.get(kind) or _make_row(store, kind)
        with store.lock:
            for numbers, positions in row.counts:
                view = numbers.view
                for position in positions:
                    view[position] += amount
            if seconds is not None:
                row.seconds.observe(seconds)
    except Exception:
        report_loss("cache operations")


def _make_row(store: Store, kind: CacheKind) -> CacheRow:
    families = cache_families()
    alias, backend, operation, result = kind
    with store.lock:
        slots = [families.operations.cell(alias, operation, result)]
        if operation in LOOKUPS:
            # All four are there from the first lookup on, so that ratios of them are.
            lookups = families.lookups.cell(backend)
            parts = {
                HIT: families.hits.cell(backend),
                MISS: families.misses.cell(backend),
                FAIL: families.failures.cell(backend),
            }
            slots += [lookups, parts[result]] if result in parts else [lookups]
        row = CacheRow(group(slots), families.seconds.cell(alias, operation))
        store.rows[kind] = row
    return row
