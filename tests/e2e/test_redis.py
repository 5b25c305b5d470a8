"""Caches whose server dies and comes back: what is counted, and what the caller sees."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.core.cache import caches
from prometheus_client import REGISTRY
from pymemcache.exceptions import MemcacheUnexpectedCloseError  # type: ignore[import-untyped]

from metrics_commands.instrumentation.caches import watch_caches
from metrics_commands.instrumentation.families import register

from .redis_server import memcached_server, redis_server

LOOKUPS = ("get", "get_hits", "get_misses", "get_fail")


@pytest.fixture(autouse=True)
def _watched() -> None:
    """Count caches, as in any process of a deployment."""
    register()
    watch_caches()


@pytest.fixture
def remote(settings: LazySettings) -> Iterator[dict[str, Any]]:
    """Let the test say where its cache is; close the connections to it afterwards."""
    cache: dict[str, Any] = {}
    settings.CACHES = {"remote": cache}
    yield cache
    client = caches["remote"]._cache  # type: ignore[attr-defined]
    for pool in getattr(client, "_pools", {}).values():
        pool.disconnect()
    caches["remote"].close()


def count(operation: str, result: str) -> float:
    """Return how often an operation had a result."""
    labels = {"alias": "remote", "operation": operation, "result": result}
    return REGISTRY.get_sample_value("django_cache_operations_total", labels) or 0.0


class Lookups:
    """What django-prometheus's four counted since: lookups, hits, misses and failures."""

    def __init__(self, backend: str) -> None:
        self._labels = {"backend": backend}
        self._before = self._read()

    def added(self) -> list[float]:
        """Return what was added."""
        return [now - before for now, before in zip(self._read(), self._before, strict=True)]

    def _read(self) -> list[float]:
        names = [f"django_cache_{each}_total" for each in LOOKUPS]
        return [REGISTRY.get_sample_value(name, self._labels) or 0.0 for name in names]


def test_a_redis_that_dies_and_comes_back(tmp_path: Path, remote: dict[str, Any]) -> None:
    """Lookups fail while the server is away, with redis's own exception, and then work again."""
    with redis_server(tmp_path) as (server, port):
        remote["BACKEND"] = "django.core.cache.backends.redis.RedisCache"
        remote["LOCATION"] = f"redis://127.0.0.1:{port}/0"
        cache = caches["remote"]
        lookups = Lookups("native_redis")
        failed = [("get", "fail"), ("set", "fail")]
        before = [count(*each) for each in failed]
        cache.set("zero", 0)
        assert (cache.get("zero", 5), cache.get("absent", 5)) == (0, 5)
        assert lookups.added() == [2, 1, 1, 0]
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        with pytest.raises(redis.exceptions.ConnectionError):
            cache.get("zero")
        with pytest.raises(redis.exceptions.ConnectionError):
            cache.set("zero", 1)
        assert lookups.added() == [3, 1, 1, 1]
        assert [count(*each) for each in failed] == [each + 1 for each in before]
    with redis_server(tmp_path, port):
        # It kept nothing, and so this is a miss.
        assert cache.get("zero", 5) == 5
        assert lookups.added() == [4, 1, 2, 1]


def test_redis_operations_are_counted_once(tmp_path: Path, remote: dict[str, Any]) -> None:
    """What Redis does in one command of its own is counted as what was asked, sync or async."""
    with redis_server(tmp_path) as (_, port):
        remote["BACKEND"] = "django.core.cache.backends.redis.RedisCache"
        remote["LOCATION"] = f"redis://127.0.0.1:{port}/1"
        cache = caches["remote"]
        before = {each: count(*each) for each in EXPECTED}
        cache.set_many({"a": 1, "b": False})
        assert cache.get_many(["a", "b", "c"]) == {"a": 1, "b": False}
        assert (cache.add("a", 2), cache.incr("a"), cache.decr("a", 2)) == (False, 2, 0)
        with pytest.raises(ValueError, match="not found"):
            cache.incr("absent")
        with pytest.raises(redis.exceptions.ResponseError):
            cache.incr("b")
        assert asyncio.run(cache.aget_or_set("new", 3)) == 3
        assert (cache.touch("a"), cache.delete("a"), cache.has_key("a")) == (True, True, False)
        assert {each: count(*each) - before[each] for each in EXPECTED} == EXPECTED


EXPECTED = {
    ("set_many", "ok"): 1,
    ("get_many", "hit"): 2,
    ("get_many", "miss"): 1,
    ("add", "refused"): 1,
    ("incr", "hit"): 1,
    ("incr", "miss"): 1,
    ("incr", "fail"): 1,
    ("decr", "hit"): 1,
    ("get_or_set", "miss"): 1,
    ("touch", "hit"): 1,
    ("delete", "hit"): 1,
    ("has_key", "miss"): 1,
    ("get", "miss"): 0,
}


def test_a_memcached_that_dies(remote: dict[str, Any]) -> None:
    """None is a hit where memcached has it, and a server that is away is a failure."""
    with memcached_server() as (server, port):
        remote["BACKEND"] = "django.core.cache.backends.memcached.PyMemcacheCache"
        remote["LOCATION"] = f"127.0.0.1:{port}"
        cache = caches["remote"]
        lookups = Lookups("memcached")
        cache.set("none", None)
        assert (cache.get("none", 5), cache.get("absent", 5)) == (None, 5)
        assert lookups.added() == [2, 1, 1, 0]
        with pytest.raises(ValueError, match="will cause errors"):
            cache.get("no key at all")
        incr_failed = count("incr", "fail")
        with pytest.raises(ValueError, match="will cause errors"):
            cache.incr("no key at all")
        assert count("incr", "fail") == incr_failed + 1
        assert lookups.added() == [3, 1, 1, 1]
        server.stop(signal.SIGKILL)
        with pytest.raises(MemcacheUnexpectedCloseError):
            cache.get("none")
        assert lookups.added() == [4, 1, 1, 2]
