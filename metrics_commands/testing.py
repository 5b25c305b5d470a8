"""Ask for metrics in tests of your own, under unittest and pytest alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches

from prometheus_client import REGISTRY

Samples = dict[str, dict[str, float]]


def metric_value(
    name: str, labels: Mapping[str, object] | None = None, /, **more: object
) -> float | None:
    """Return one sample's value in this process; None where there is no such series.

    ``name`` is the one on the page, such as ``django_model_inserts_total``; labels are keywords,
    or a mapping.
    """
    return REGISTRY.get_sample_value(name, write_values(labels, more))


@contextmanager
def assert_metric_increments(
    name: str, /, by: float = 1, labels: Mapping[str, object] | None = None, **more: object
) -> Iterator[None]:
    """Fail unless a sample grows by exactly that much meanwhile; one that is missing is 0."""
    wanted = write_series(name, write_values(labels, more))
    before = read_samples()
    yield
    after = read_samples()
    grown = {series: growth(series, name, before, after) for series in after.get(name, ())}
    actual = grown.pop(wanted, 0.0)
    if math.isclose(actual, by, rel_tol=1e-9, abs_tol=1e-9):
        return
    others = [f"{series} by {other:g}" for series, other in grown.items() if other]
    if name not in after:
        similar = get_close_matches(name, after)
        hint = f" There is no metric {name}."
        hint += f" Did you mean {' or '.join(similar)}?" if similar else ""
    elif others:
        hint = f" Meanwhile grew: {', '.join(others)}."
    elif wanted not in after[name]:
        hint = f" There is no such series, but: {', '.join(sorted(after[name])) or 'none'}."
    else:
        hint = ""
    raise AssertionError(f"{wanted} grew by {actual:g}, not by {by:g}.{hint}")


def growth(series: str, name: str, before: Samples, after: Samples) -> float:
    """Return by how much a series grew."""
    return after[name][series] - before.get(name, {}).get(series, 0.0)


def read_samples() -> Samples:
    """Return every sample of this process, by name and series."""
    samples: Samples = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            series = write_series(sample.name, sample.labels)
            samples.setdefault(sample.name, {})[series] = sample.value
    return samples


def write_values(labels: Mapping[str, object] | None, more: Mapping[str, object]) -> dict[str, str]:
    """Return labels as they stand on the page, where a status is text."""
    return {name: str(value) for name, value in {**(labels or {}), **more}.items()}


def write_series(name: str, labels: Mapping[str, str]) -> str:
    """Write a series as Prometheus does."""
    pairs = ", ".join(f'{each}="{value}"' for each, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name
