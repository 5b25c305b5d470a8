"""Bring a page into a form in which two of them can be compared."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TypeAlias

from tests.processes import Samples

Comparable: TypeAlias = dict[str, float | tuple[float, ...]]

# What differs from one run to the next, and says nothing.
VOLATILE = (re.compile(r'(?<=pid=")\d+'), re.compile(r"(?<=at 0x)[0-9a-f]+"))


def name_sample(name: str, labels: dict[str, str]) -> str:
    """Write a sample's name and labels as a page does, with what is volatile left out."""
    text = name + "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}"
    for pattern in VOLATILE:
        text = pattern.sub("…", text)
    return text.removesuffix("{}")


def make_comparable(page: Samples) -> Comparable:
    """Return a page's values by sample; of a histogram the bounds, and what each bucket got.

    Nobody can foresee how long things take: a histogram of seconds keeps bounds and count only.
    """
    values: Comparable = {}
    histograms: dict[str, list[tuple[float, float]]] = {}
    for (name, pairs), value in page.items():
        labels = dict(pairs)
        if name.endswith("_bucket"):
            bound = float(labels.pop("le"))
            histograms.setdefault(name_sample(name, labels), []).append((bound, value))
        elif not (name.endswith("_sum") and "_seconds" in name):
            values[name_sample(name, labels)] = value
    for name, buckets in histograms.items():
        values[f"bounds of {name}"] = tuple(bound for bound, _ in sorted(buckets))
        if "_seconds" not in name:
            values |= count_each(name, sorted(buckets))
    return values


def count_each(name: str, buckets: list[tuple[float, float]]) -> Comparable:
    """Return how many values each bucket got itself, of those that got any."""
    with_zero = [(float("-inf"), 0.0), *buckets]
    return {
        f"{name} up to {bound:g}": value - before
        for (_, before), (bound, value) in pairwise(with_zero)
        if value > before
    }


def find_differences(theirs: Comparable, ours: Comparable) -> dict[str, float]:
    """Return by how much ours is more: 0 where one has a mere zero, NaN where bounds differ."""
    different: dict[str, float] = {}
    for name in theirs.keys() | ours.keys():
        one, other = theirs.get(name), ours.get(name)
        if one == other:
            continue
        if isinstance(one, tuple) or isinstance(other, tuple):
            # Bounds of a series that only one page has: its count tells that already.
            if one is not None and other is not None:
                different[name] = float("nan")
        else:
            different[name] = (other or 0.0) - (one or 0.0)
    return different
