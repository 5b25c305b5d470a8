"""Backends whose methods are unlike Django's answer as they do when nobody counts."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import BaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from prometheus_client import REGISTRY

from metrics_commands.instrumentation.cache_operations import MISSING
from metrics_commands.instrumentation.caches import is_known, watch_cache
from metrics_commands.instrumentation.families import register

from .odd_caches import (
    KINDS,
    AsyncTiers,
    Decorated,
    DrawingMany,
    KeyedDefault,
    KeyOnly,
    LazyMany,
    Omitting,
    OtherName,
    Static,
    TwoTiers,
)

Counts = dict[str, float]
MANY = {"get_many hit": 1.0, "get_many miss": 1.0}


def compute(*arguments: Any) -> str:
    """Be a default that can be called, also with a key."""
    return f"computed {arguments}"


CALLS: list[tuple[str, Callable[[], tuple[Any, ...]], dict[str, Any]]] = [
    ("get", lambda: (), {}),
    ("get", lambda: ("key",), {}),
    ("get", lambda: ("none", 7), {}),
    ("get", lambda: ("absent",), {}),
    ("get", lambda: ("absent", 7), {}),
    ("get", lambda: ("absent", compute), {}),
    ("get", lambda: ("absent", 7, 2), {}),
    ("get", lambda: ("key", 2), {}),
    ("get", lambda: ("key",), {"version": 2}),
    ("get", lambda: ("absent",), {"default": 7}),
    ("get", lambda: ("absent",), {"failobj": 7}),
    ("get", lambda: ("absent",), {"default": compute, "version": 2}),
    ("get", lambda: ("absent", 7), {"default": 8}),
    ("get", lambda: (), {"key": "key"}),
    ("get_many", lambda: (["key", "none", "absent"],), {}),
    ("get_many", lambda: (iter(["key", "none", "absent"]),), {}),
    ("get_many", lambda: (), {"keys": ("key", "absent")}),
    ("get_many", lambda: (), {"names": ("key", "absent")}),
    ("get_many", lambda: (7,), {}),
    ("get_or_set", lambda: ("key", 7), {}),
    ("get_or_set", lambda: ("first", compute), {}),
    ("get_or_set", lambda: ("second",), {"default": compute}),
    ("get_or_set", lambda: ("third", 7), {"version": 2}),
    ("get_or_set", lambda: ("fourth",), {}),
    ("has_key", lambda: ("none",), {}),
    ("incr", lambda: ("absent",), {}),
]


def read(answer: Any) -> Any:
    """Return an answer, with what comes one by one in a list."""
    return list(answer) if isinstance(answer, Iterator) else answer


def ask_all(cache: Any) -> list[object]:
    """Return what a cache answers to everything: results, or types and texts of exceptions."""
    cache.set("key", 0)
    cache.set("none", None)
    answers: list[object] = []
    for name, arguments, keywords in CALLS:
        for method in (getattr(cache, name), getattr(cache, f"a{name}")):
            try:
                answer = method(*arguments(), **keywords)
                if asyncio.iscoroutine(answer):
                    answer = asyncio.run(answer)
                answers.append((name, keywords.keys(), read(answer)))
            except Exception as error:
                answers.append((name, keywords.keys(), type(error), str(error)))
    return answers


@pytest.fixture(autouse=True)
def _registered() -> None:
    """Show the counts in the registry of the process."""
    register()


def make(kind: type[LocMemCache], name: Path) -> Any:
    """Return an empty cache of a backend."""
    return kind(str(name), {})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_odd_methods_answer_as_when_nobody_counts(kind: type[LocMemCache], tmp_path: Path) -> None:
    """Whatever parameters a backend's methods have, results and exceptions are its own."""
    plain, watched = make(kind, tmp_path / "plain"), make(kind, tmp_path / "watched")
    watch_cache("odd", watched)
    assert type(watched) is not kind
    assert ask_all(watched) == ask_all(plain)
    assert watched._cache == plain._cache


def count(kind: type[LocMemCache], location: Path, action: Callable[[Any], object]) -> Counts:
    """Return what an action on a watched cache with two keys adds, by operation and result."""
    cache = make(kind, location)
    cache.set_many({"key": 0, "none": None})
    watch_cache("odd", cache)
    before = read_counts()
    action(cache)
    counts = {each: value - before.get(each, 0) for each, value in read_counts().items()}
    return {each: value for each, value in counts.items() if value}


def read_counts() -> Counts:
    """Return the operations of the cache so far."""
    return {
        f"{sample.labels['operation']} {sample.labels['result']}": sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "django_cache_operations_total" and sample.labels["alias"] == "odd"
    }


@pytest.mark.parametrize(
    ("kind", "action", "expected"),
    [
        (KeyOnly, lambda cache: cache.get("key"), {"get hit": 1}),
        (KeyOnly, lambda cache: cache.get("absent"), {"get miss": 1}),
        (KeyOnly, lambda cache: cache.get("none"), {"get miss": 1}),
        (OtherName, lambda cache: cache.get("key", 7), {"get hit": 1}),
        (OtherName, lambda cache: cache.get("absent", 7), {"get miss": 1}),
        (TwoTiers, lambda cache: cache.get("absent"), {"get hit": 1}),
        (TwoTiers, lambda cache: cache.get("absent", default=7), {"get miss": 1}),
        (TwoTiers, lambda cache: asyncio.run(cache.aget("absent")), {"get hit": 1}),
        (AsyncTiers, lambda cache: cache.get("none"), {"get hit": 1}),
        (AsyncTiers, lambda cache: asyncio.run(cache.aget("absent", 7)), {"get miss": 1}),
        (LazyMany, lambda cache: cache.get_many(iter("ab")), {"get_many ok": 1}),
        (TwoTiers, lambda cache: cache.get_many(iter(["key"])), {"get_many hit": 1}),
        (DrawingMany, lambda cache: cache.get_many(["key", "no"]), MANY),
        (DrawingMany, lambda cache: cache.get_many(iter(["key", "no"])), {"get_many hit": 1}),
        (KeyedDefault, lambda cache: cache.get_or_set("new", compute), {"get_or_set miss": 1}),
        (KeyedDefault, lambda cache: cache.get_or_set("key", compute), {"get_or_set hit": 1}),
    ],
)
def test_odd_methods_are_counted_by_what_they_return(
    kind: type[LocMemCache],
    action: Callable[[Any], object],
    expected: Counts,
    tmp_path: Path,
) -> None:
    """Of an application's own get, None and the default are misses; others are as ever."""
    assert count(kind, tmp_path, action) == expected


def test_the_sentinel_of_lookups_is_one_object() -> None:
    """A backend that copies or pickles what it is given for no value returns a miss."""
    again = [copy.copy(MISSING), copy.deepcopy([MISSING])[0], pickle.loads(pickle.dumps(MISSING))]
    assert all(each is MISSING for each in again)
    assert not callable(MISSING)


@pytest.mark.parametrize(
    ("kind", "name", "known"),
    [
        (LocMemCache, "get", True),
        (FileBasedCache, "aget", True),
        (AsyncTiers, "get", True),
        (AsyncTiers, "aget", False),
        (TwoTiers, "get", False),
        (TwoTiers, "get_many", True),
        (Decorated, "get", False),
        (Omitting, "get", False),
        (Static, "get", False),
    ],
)
def test_methods_of_applications_are_told_from_djangos(
    kind: type[BaseCache], name: str, known: bool
) -> None:
    """A method is known by where its code is, whatever decorators make it look like."""
    assert is_known(kind, name) is known
