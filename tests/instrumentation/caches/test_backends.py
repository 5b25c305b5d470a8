"""No cache answers differently for being counted, whatever its backend."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest
from django.core.cache import BaseCache, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.management import call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.instrumentation.caches import name_backend, watch_cache

from .counts import count, one
from .kinds import SealedCache, SharedCache, TieredCache


def test_a_watched_cache_is_still_its_backend() -> None:
    """Its class is a subclass by the same name, and the backend's own methods are there."""
    cache = caches["tiered"]
    assert isinstance(cache, TieredCache)
    assert cache.ttl("key") == 3
    assert repr(cache).startswith(f"<{TieredCache.__module__}.TieredCache object at ")
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
