"""What caches are asked is counted."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import BaseCache, caches
from prometheus_client import REGISTRY

from .counts import count, one


class Unpicklable:
    """Refuse to be stored."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not this one")


@pytest.mark.parametrize("value", [0, False, "", {}, [], None, "text"])
def test_any_stored_value_is_a_hit(value: object) -> None:
    """A value is found as it was stored, falsy or None, whatever the default is."""
    cache = caches["default"]
    cache.set("key", value)
    counts = count(lambda: cache.get("key", "default"))
    assert counts == one("get", "hit", "get", "get_hits")
    assert cache.get("key", default="default") == value
    assert cache.get_many(["key"]) == {"key": value}
    assert cache.get_or_set("key", lambda: pytest.fail("it is there")) == value


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda cache: cache.get("absent"), None),
        (lambda cache: cache.get("absent", 7), 7),
        (lambda cache: cache.get("absent", default=7), 7),
        (lambda cache: cache.get("absent", 7, 2), 7),
        (lambda cache: cache.get("key", 7, version=2), 7),
        (lambda cache: cache.get(version=2, default=7, key="key"), 7),
    ],
)
def test_a_miss_gives_the_callers_default(
    read: Callable[[BaseCache], object], expected: object
) -> None:
    """A key that is not there, or not in that version, gives the default however it is passed."""
    cache = caches["default"]
    cache.set("key", 1)
    found: list[object] = []
    assert count(lambda: found.append(read(cache))) == one("get", "miss", "get", "get_misses")
    assert found == [expected]


@pytest.mark.parametrize(
    ("operation", "action", "result"),
    [
        ("set", lambda cache: cache.set("new", 1), "ok"),
        ("add", lambda cache: cache.add("new", 1), "ok"),
        ("add", lambda cache: cache.add("key", 2), "refused"),
        ("set_many", lambda cache: cache.set_many({"a": 1, "b": 2}), "ok"),
        ("touch", lambda cache: cache.touch("key"), "hit"),
        ("touch", lambda cache: cache.touch("absent"), "miss"),
        ("has_key", lambda cache: cache.has_key("key"), "hit"),
        ("has_key", lambda cache: "absent" in cache, "miss"),
        ("delete", lambda cache: cache.delete("key"), "hit"),
        ("delete", lambda cache: cache.delete("absent"), "miss"),
        ("delete_many", lambda cache: cache.delete_many(["key", "absent"]), "ok"),
        ("incr", lambda cache: cache.incr("key"), "hit"),
        ("decr", lambda cache: cache.decr("key", 3), "hit"),
        ("incr_version", lambda cache: cache.incr_version("key"), "hit"),
        ("decr_version", lambda cache: cache.decr_version("key"), "hit"),
        ("clear", lambda cache: cache.clear(), "ok"),
    ],
)
def test_an_operation_is_counted_once(
    operation: str, action: Callable[[BaseCache], object], result: str
) -> None:
    """Each operation counts once by alias and result, also where the backend makes it of others."""
    for alias in ("default", "files"):
        cache = caches[alias]
        cache.set("key", 1)
        assert count(lambda cache=cache: action(cache)) == one(operation, result, alias=alias)  # type: ignore[misc]


@pytest.mark.parametrize("operation", ["incr", "decr", "incr_version", "decr_version"])
def test_changing_an_absent_key_is_a_miss(operation: str) -> None:
    """ValueError reaches the caller as before, and counts as a miss and no failure."""

    def change() -> None:
        with pytest.raises(ValueError, match="Key 'absent' not found"):
            getattr(caches["files"], operation)("absent")

    assert count(change) == one(operation, "miss", alias="files")


def test_an_exception_is_a_failure_and_reaches_the_caller() -> None:
    """What a backend raises is counted as fail, and is the very exception that the caller gets."""

    def fail() -> None:
        with pytest.raises(pickle.PicklingError, match="not this one"):
            caches["default"].set("key", Unpicklable())
        with pytest.raises(TypeError, match="get"):
            caches["default"].get()  # type: ignore[call-arg]

    expected = one("set", "fail") | one("get", "fail", "get", "get_fail")
    assert count(fail) == expected


@pytest.mark.parametrize("keys", [["a", "b", "c"], ("a", "b", "c"), {"a": 1, "b": 2, "c": 3}, None])
def test_get_many_counts_keys(keys: Any) -> None:
    """A hit for each key found and a miss for each other one; its time is that of one call."""
    cache = caches["default"]
    cache.set_many({"a": 0, "b": None})
    given_keys = iter(["a", "b", "c"]) if keys is None else keys
    found: list[object] = []
    counts = count(lambda: found.append(cache.get_many(given_keys)))
    assert found == [{"a": 0, "b": None}]
    assert counts == {
        "default get_many": 1,
        "default get_many hit": 2,
        "default get_many miss": 1,
        "locmem get": 3,
        "locmem get_hits": 2,
        "locmem get_misses": 1,
    }


def test_get_or_set_is_one_lookup() -> None:
    """It is a miss when it had to store and a hit when it had not, and never two operations."""
    cache = caches["default"]
    looked_up = ("get_or_set", "miss", "get", "get_misses")
    assert count(lambda: cache.get_or_set("key", 0)) == one(*looked_up)
    assert count(lambda: cache.get_or_set("second", default=lambda: 1)) == one(*looked_up)
    counts = count(lambda: cache.get_or_set("key", 5))
    assert counts == one("get_or_set", "hit", "get", "get_hits")
    assert (cache.get("key"), cache.get("second")) == (0, 1)


def test_what_a_default_does_is_its_own() -> None:
    """A default that asks the cache is counted for that, and its error is none of the cache's."""
    cache = caches["default"]

    def compute() -> None:
        cache.get("another")
        raise LookupError("no such row")

    def ask() -> None:
        with pytest.raises(LookupError):
            cache.get_or_set("key", compute)

    expected = one("get_or_set", "miss") | one("get", "miss")
    assert count(ask) == expected | {"locmem get": 2, "locmem get_misses": 2}
    # And the next operation is an outermost one again.
    assert count(lambda: cache.set("key", 1)) == one("set", "ok")


def test_the_time_of_a_default_is_not_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow default of get_or_set does not make the cache look slow."""
    now = [0.0]
    for module in ("caches", "cache_operations"):
        clock = f"metrics_commands.instrumentation.{module}.perf_counter"
        monkeypatch.setattr(clock, lambda: now[0])

    def compute() -> int:
        now[0] += 100.0
        return 1

    name = "django_cache_operation_duration_seconds_sum"
    labels = {"alias": "default", "operation": "get_or_set"}
    caches["default"].get_or_set("quick", 1)
    before = REGISTRY.get_sample_value(name, labels)
    caches["default"].get_or_set("slow", compute)
    assert REGISTRY.get_sample_value(name, labels) == before


def test_one_cache_in_another_counts_for_both() -> None:
    """A backend that asks another alias is counted there as well, and once for itself."""
    caches["default"].set("key", 1)
    counts = count(lambda: caches["tiered"].get("key"))
    both = one("get", "hit") | one("get", "hit", alias="tiered")
    assert counts == both | {"locmem get": 2, "locmem get_hits": 2}
