"""What an action adds to the numbers of caches."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY

OPERATIONS = "django_cache_operations_total"
Counts = dict[str, float]
OPERATION_LABELS = ("alias", "operation", "result")


def read_counts() -> Counts:
    """Return all counters of caches, and how often each duration was observed."""
    counts: Counts = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name == OPERATIONS:
                counts[" ".join(sample.labels[each] for each in OPERATION_LABELS)] = sample.value
            elif sample.name.startswith("django_cache_get"):
                name = sample.name.removeprefix("django_cache_").removesuffix("_total")
                counts[f"{sample.labels['backend']} {name}"] = sample.value
            elif sample.name == "django_cache_operation_duration_seconds_count":
                counts[f"{sample.labels['alias']} {sample.labels['operation']}"] = sample.value
    return counts


def count(action: Callable[[], object]) -> Counts:
    """Return what an action adds."""
    before = read_counts()
    action()
    added = {key: value - before.get(key, 0) for key, value in read_counts().items()}
    return {key: value for key, value in added.items() if value}


def one(operation: str, result: str, *lookups: str, alias: str = "default") -> Counts:
    """Return what one operation adds."""
    counts = {f"{alias} {operation} {result}": 1.0, f"{alias} {operation}": 1.0}
    return counts | {f"locmem {each}": 1.0 for each in lookups}
