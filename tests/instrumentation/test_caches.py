"""What caches are asked is counted, and no cache answers differently for it."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.cache import BaseCache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.management import call_command
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from metrics_commands.instrumentation.caches import name_backend, watch_cache, watch_caches
from metrics_commands.instrumentation.families import register
from tests.processes import ROOT, clean_environment, run

OPERATIONS = "django_cache_operations_total"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"

Counts = dict[str, float]


class TieredCache(LocMemCache):
    """Ask another cache first, and have a method that Django's caches do not have."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        found = caches["default"].get(key)
        return super().get(key, default, version) if found is None else found

    def ttl(self, key: str) -> int:
        return len(key)


class SharedCache(LocMemCache):
    """Be one object, however often it is made."""

    shared: SharedCache | None = None

    def __new__(cls, *args: Any) -> SharedCache:
        SharedCache.shared = SharedCache.shared or super().__new__(cls)
        return SharedCache.shared


class SealedCache(LocMemCache):
    """Refuse to be subclassed."""

    def __init_subclass__(cls) -> None:
        raise TypeError("sealed")


class PeersCache(LocMemCache):
    """Look like a backend of django-prometheus."""

    __module__ = "django_prometheus.cache.backends.locmem"


class Unpicklable:
    """Refuse to be stored."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not this one")


@pytest.fixture(autouse=True)
def _caches(settings: LazySettings, tmp_path: Path) -> Iterator[None]:
    """Give the test empty, watched caches of its own."""
    here = f"{__name__}."
    settings.CACHES = {
        "default": {"BACKEND": LOCMEM, "LOCATION": str(tmp_path)},
        "other": {"BACKEND": LOCMEM, "LOCATION": f"{tmp_path}2"},
        "files": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(tmp_path / "cache"),
        },
        "nothing": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "rows": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached"},
        "tiered": {"BACKEND": f"{here}TieredCache", "LOCATION": f"{tmp_path}3"},
        "shared": {"BACKEND": f"{here}SharedCache", "LOCATION": f"{tmp_path}4"},
        "sealed": {"BACKEND": f"{here}SealedCache", "LOCATION": f"{tmp_path}5"},
        "peers": {"BACKEND": f"{here}PeersCache", "LOCATION": f"{tmp_path}6"},
    }
    register()
    watch_caches()
    yield
    for alias in ("default", "other", "tiered", "shared", "peers"):
        caches[alias].clear()


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


async def use_all(cache: Any) -> list[object]:
    """Use every async operation once, with gathers in between."""
    await asyncio.gather(cache.aset("key", 0), cache.aset("number", 1))
    return [
        *await asyncio.gather(cache.aget("key", 5), cache.aget("absent", 5)),
        await cache.aget_many(["key", "absent"]),
        await cache.aadd("key", 1),
        await cache.atouch("key"),
        await cache.aincr("number"),
        await cache.adecr("number"),
        await cache.ahas_key("number"),
        await cache.aget_or_set("key", 9),
        await cache.aget_or_set("made", lambda: 9),
        await cache.aset_many({"x": 1, "y": 2}),
        await cache.adelete("x"),
        await cache.adelete_many(["y"]),
        await cache.aincr_version("number"),
        await cache.adecr_version("number", version=2),
        await cache.aclear(),
    ]


def test_async_operations_are_counted_once() -> None:
    """Async variants answer as they do, and count as the sync ones, which they may call."""
    results: list[object] = []
    counts = count(lambda: results.extend(asyncio.run(use_all(caches["default"]))))
    assert results == [
        0, 5, {"key": 0}, False, True, 2, 1, True, 0, 9, [], True, None, 2, 1, None,
    ]  # fmt: skip
    expected = {
        "set ok": 2, "get hit": 1, "get miss": 1, "get_many hit": 1, "get_many miss": 1,
        "add refused": 1, "touch hit": 1, "incr hit": 1, "decr hit": 1, "has_key hit": 1,
        "get_or_set hit": 1, "get_or_set miss": 1, "set_many ok": 1, "delete hit": 1,
        "delete_many ok": 1, "incr_version hit": 1, "decr_version hit": 1, "clear ok": 1,
    }  # fmt: skip
    by_result = {key: value for key, value in counts.items() if key.count(" ") == 2}
    assert by_result == {f"default {key}": value for key, value in expected.items()}


def test_a_cancelled_operation_leaves_the_next_one_outermost() -> None:
    """A task that is cancelled inside a cache operation does not hide what its caller asks."""

    async def cancel() -> None:
        task = asyncio.create_task(caches["default"].aget("key"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await caches["default"].aset("key", 1)

    assert count(lambda: asyncio.run(cancel())) == one("set", "ok")


def test_threads_are_counted_exactly() -> None:
    """Eight threads, each with a cache object of its own, lose no count."""

    def ask(_: int) -> None:
        for _repeat in range(250):
            caches["other"].get("key")

    def ask_in_threads() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(ask, range(8)))

    assert count(ask_in_threads)["other get miss"] == 2000


FORK = """
import os, sys
import django
from django.conf import settings
from metrics_commands.directory import use_metrics_directory
use_metrics_directory(sys.argv[1])
settings.configure()
django.setup()
from django.core.cache import caches
cache = caches["default"]
from metrics_commands.instrumentation.caches import watch_caches
watch_caches()
cache.set("key", 1)
children = [os.fork() for _ in range(2)]
for _ in range(10):
    cache.get("key")
if all(children):
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
os._exit(0)
"""


def test_forks_count_into_files_of_their_own(tmp_path: Path) -> None:
    """A cache made before a fork, and before it was watched, is counted in each process."""
    directory = tmp_path / "metrics"
    environment = clean_environment(tmp_path, PYTHONPATH=str(ROOT))
    done = run([sys.executable, "-c", FORK, directory], environment)
    assert done.returncode == 0, done.stderr
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    labels = {"alias": "default", "operation": "get", "result": "hit"}
    # The parent and its first child, and the two children of both.
    assert registry.get_sample_value(OPERATIONS, labels) == 40
    assert registry.get_sample_value("django_cache_get_hits_total", {"backend": "locmem"}) == 40
    assert registry.get_sample_value(OPERATIONS, labels | {"operation": "set", "result": "ok"}) == 1


def test_a_watched_cache_is_still_its_backend() -> None:
    """Its class is a subclass by the same name, and the backend's own methods are there."""
    cache = caches["tiered"]
    assert isinstance(cache, TieredCache)
    assert cache.ttl("key") == 3
    assert repr(cache).startswith(f"<{__name__}.TieredCache object at ")
    assert vars(cache).keys() == vars(TieredCache("", {})).keys()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_watched_cache_is_pickled_as_its_backend(protocol: int) -> None:
    """A pickle or a copy of a cache works, and is of the plain class."""
    cache = caches["files"]
    cache.set("key", 1)
    for again in (pickle.loads(pickle.dumps(cache, protocol)), copy.copy(cache)):
        assert type(again) is FileBasedCache
        assert again.get("key") == 1


def test_a_cache_that_is_made_twice_is_watched_once() -> None:
    """A backend whose object is shared by all threads does not count more with each of them."""
    cache = caches["shared"]
    kind = type(cache)
    assert watch_cache("shared", SharedCache("", {})) is cache
    assert type(cache) is kind
    assert count(lambda: cache.set("key", 1)) == one("set", "ok", alias="shared")


def test_a_cache_that_cannot_be_watched_works(caplog: pytest.LogCaptureFixture) -> None:
    """A backend that refuses to be subclassed stays as it is, with one line in the log."""
    with caplog.at_level(logging.ERROR, "metrics_commands"):
        cache = caches["sealed"]
        again = watch_cache("sealed", SealedCache("", {}))
    assert type(cache) is type(again) is SealedCache
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_backend_of_django_prometheus_is_left_to_it() -> None:
    """A BACKEND that was not swapped yet counts itself, and is not counted twice."""
    assert count(lambda: caches["peers"].get("key")) == {}


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        (LocMemCache, "locmem"),
        (TieredCache, "locmem"),
        (FileBasedCache, "filebased"),
        (PyMemcacheCache, "memcached"),
        (RedisCache, "native_redis"),
        (DummyCache, "dummy"),
        (type("ValkeyCache", (BaseCache,), {}), "valkey"),
        (type("Cache", (BaseCache,), {}), "cache"),
    ],
)
def test_backends_have_the_names_of_django_prometheus(backend: type[BaseCache], name: str) -> None:
    """The label backend is what dashboards know, and for other classes their name."""
    assert name_backend(backend) == name


def test_a_dummy_cache_only_misses() -> None:
    """A cache that stores nothing shows as one whose every lookup misses."""
    cache = caches["nothing"]
    cache.set("key", 1)
    looked_up = {"dummy get": 1.0, "dummy get_misses": 1.0}
    assert count(lambda: cache.get("key")) == one("get", "miss", alias="nothing") | looked_up


@pytest.mark.django_db
def test_a_database_cache_is_counted() -> None:
    """A cache in the database is counted by operations, not by the queries that they take."""
    call_command("createcachetable", "cached")
    cache = caches["rows"]
    assert count(lambda: cache.set("key", 1)) == one("set", "ok", alias="rows")
    counts = count(lambda: cache.get("key"))
    looked_up = {"database get": 1.0, "database get_hits": 1.0}
    assert counts == one("get", "hit", alias="rows") | looked_up


KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from([0, 1, "", None, False, (), "text"])
VERSIONS = st.sampled_from([None, 1, 2])
STEPS = st.one_of(
    st.tuples(st.just("get"), st.tuples(KEYS, VALUES, VERSIONS)),
    st.tuples(st.sampled_from(["set", "add", "get_or_set"]), st.tuples(KEYS, VALUES)),
    st.tuples(st.sampled_from(["incr", "decr"]), st.tuples(KEYS, st.integers(-2, 2), VERSIONS)),
    st.tuples(st.sampled_from(["has_key", "delete", "incr_version"]), st.tuples(KEYS)),
    st.tuples(st.just("touch"), st.tuples(KEYS, st.sampled_from([None, 0, 300]))),
    st.tuples(st.sampled_from(["get_many", "delete_many"]), st.tuples(st.lists(KEYS))),
    st.tuples(st.just("set_many"), st.tuples(st.dictionaries(KEYS, VALUES))),
)


def answer(cache: BaseCache, name: str, arguments: tuple[object, ...]) -> object:
    """Return what an operation returns, or the exception it raises, as text."""
    try:
        return getattr(cache, name)(*arguments)
    except (TypeError, ValueError) as error:
        return repr(error)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=20))
def test_watched_and_plain_caches_answer_alike(steps: list[tuple[str, tuple[object, ...]]]) -> None:
    """Whatever is asked in whatever order, a watched cache answers as the plain backend does."""
    watched, plain = caches["other"], LocMemCache("plain", {})
    watched.clear()
    plain.clear()
    for name, arguments in steps:
        assert answer(watched, name, arguments) == answer(plain, name, arguments)
    assert vars(watched)["_cache"] == plain._cache  # type: ignore[attr-defined]
