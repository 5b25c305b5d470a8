"""Each cache with a server is up or down, and Redis tells of itself; nothing is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import LazySettings
from django.core.management import call_command
from prometheus_client import Metric

from metrics_commands.collectors.cache import CacheCollector
from metrics_commands.collectors.registry import Surroundings, make_collectors
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import scrape, succeeded
from tests.e2e.redis_server import memcached_server, redis_server
from tests.processes import Started, sample, wait_until

NATIVE = "django.core.cache.backends.redis.RedisCache"
PACKAGE = "django_redis.cache.RedisCache"
MEMCACHED = "django.core.cache.backends.memcached.PyMemcacheCache"
LOCAL = {
    "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "none": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    "files": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/x"},
}
UP = "django_cache_up"
needs_package = pytest.mark.skipif(find_spec("django_redis") is None, reason="no django-redis")
BOTH = [NATIVE, pytest.param(PACKAGE, marks=needs_package)]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Wait for looks that a test has let go on; close what django-redis keeps for ever."""
    yield
    wait_until(lambda: not any(each.name.startswith("cache ") for each in threading.enumerate()))
    if find_spec("django_redis") is not None:
        pools = import_module("django_redis.pool").ConnectionFactory._pools
        for pool in pools.values():
            pool.disconnect()
        pools.clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Started, int]]:
    """Yield a Redis server that runs, and its port."""
    with redis_server(tmp_path) as running:
        yield running


def show(collector: CacheCollector) -> dict[str, float]:
    """Return all samples of the caches, by family and alias."""
    return list_values(collector.collect())


def list_values(families: Iterable[Metric]) -> dict[str, float]:
    """Return samples by their name, without what all have in common, and alias."""
    return {
        f"{each.name.removeprefix('django_cache_')} {each.labels['alias']}": each.value
        for family in families
        for each in family.samples
    }


def make(backend: str, port: int, **options: Any) -> dict[str, Any]:
    """Return what a project writes into CACHES."""
    scheme = "" if backend == MEMCACHED else "redis://"
    return {"BACKEND": backend, "LOCATION": f"{scheme}127.0.0.1:{port}", "OPTIONS": options}


def test_what_has_no_server_is_not_shown(settings: LazySettings) -> None:
    """A cache within a process says nothing of the workers' own; one that is broken does."""
    settings.CACHES = {**LOCAL, "broken": {"BACKEND": "nowhere.Cache"}}
    samples = scrape(make_collectors(["cache"], Surroundings("zoo")))
    assert succeeded(samples, "cache")
    found = [dict(labels)["alias"] for name, labels in samples if name == f"zoo_{UP}"]
    assert found == ["broken"]
    assert sample(samples, f"zoo_{UP}", alias="broken") == 0


@pytest.mark.parametrize("backend", BOTH)
def test_redis_tells_of_itself(
    settings: LazySettings, server: tuple[Started, int], backend: str
) -> None:
    """Memory, evictions, hits and misses are the server's, and a look adds a miss, never a key."""
    settings.CACHES = {"remote": make(backend, server[1])}
    collector = CacheCollector(Surroundings())
    show(collector)
    with closing(redis.Redis(port=server[1])) as client:
        client.set("a", 1)
        client.get("a")
        client.config_set("maxmemory", "64mb")
        before = show(collector)
        after = show(collector)
        assert client.dbsize() == 1
    assert before["up remote"] == 1
    assert 0 < before["ping_duration_seconds remote"] < 30
    assert before["redis_memory_bytes remote"] > 100_000
    assert before["redis_max_memory_bytes remote"] == 64 * 2**20
    assert before["redis_evicted_keys_total remote"] == 0
    assert before["redis_keyspace_hits_total remote"] == 1
    misses = "redis_keyspace_misses_total remote"
    assert after[misses] == before[misses] + 1


def test_keys_that_redis_drops_are_counted(
    settings: LazySettings, server: tuple[Started, int]
) -> None:
    """A server that is full drops keys for new ones, and says how many."""
    settings.CACHES = {"remote": make(NATIVE, server[1])}
    with closing(redis.Redis(port=server[1])) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info()["used_memory"] + 2**20)
        for number in range(64):
            client.set(f"key{number}", bytes(2**16))
        values = show(CacheCollector(Surroundings()))
        dropped = 64 - client.dbsize()
    assert 0 < values["redis_evicted_keys_total remote"] <= dropped


@pytest.mark.parametrize("backend", BOTH)
def test_a_redis_that_hangs_costs_itself_and_heals(
    settings: LazySettings, server: tuple[Started, int], tmp_path: Path, backend: str
) -> None:
    """The others are shown meanwhile, and errors that the project ignores are seen here."""
    process, port = server
    ignores = {"IGNORE_EXCEPTIONS": True} if backend == PACKAGE else {}
    folder = tmp_path / "other"
    folder.mkdir()
    with redis_server(folder) as (_, other):
        settings.CACHES = {"good": make(backend, other), "bad": make(backend, port, **ignores)}
        collector = CacheCollector(Surroundings(), patience=0.2)
        wait_until(lambda: show(collector).get("up bad"))
        process.popen.send_signal(signal.SIGSTOP)
        for _ in range(3):
            values = show(collector)
            assert (values["up good"], values["up bad"]) == (1, 0)
            assert "redis_memory_bytes bad" not in values
        process.popen.send_signal(signal.SIGCONT)
        wait_until(lambda: show(collector)["up bad"])


@pytest.mark.parametrize("backend", BOTH)
def test_a_redis_that_is_down_heals(settings: LazySettings, tmp_path: Path, backend: str) -> None:
    """It is 0 from the start, 1 when it is there, and 0 again when it has gone."""
    with redis_server(tmp_path) as (_, port):
        pass
    settings.CACHES = {"remote": make(backend, port)}
    collector = CacheCollector(Surroundings())
    assert show(collector) == {"up remote": 0}
    with redis_server(tmp_path, port):
        assert show(collector)["up remote"] == 1
    assert show(collector) == {"up remote": 0}
    with redis_server(tmp_path, port):
        assert show(collector)["up remote"] == 1


def test_a_redis_that_must_not_tell_is_up(
    settings: LazySettings, server: tuple[Started, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right to ask INFO there is the time to answer, and one line in the log."""
    with closing(redis.Redis(port=server[1])) as client:
        client.acl_setuser("default", enabled=True, commands=["-info"])
    settings.CACHES = {"remote": make(NATIVE, server[1])}
    collector = CacheCollector(Surroundings())
    for _ in range(2):
        assert set(show(collector)) == {"up remote", "ping_duration_seconds remote"}
    assert len(caplog.records) == 1


def test_memcached_is_asked_too(settings: LazySettings) -> None:
    """It is up while it runs, also where the project would ignore that it does not."""
    pytest.importorskip("pymemcache")
    with memcached_server() as (process, port):
        settings.CACHES = {"remote": make(MEMCACHED, port, ignore_exc=True)}
        collector = CacheCollector(Surroundings())
        assert set(show(collector)) == {"up remote", "ping_duration_seconds remote"}
        process.stop()
        assert show(collector) == {"up remote": 0}


def test_a_cache_in_a_database_needs_its_table(
    settings: LazySettings, add_database: AddDatabase
) -> None:
    """What ``createcachetable`` makes is missing at first, and seen when it is there."""
    path = add_database("main")
    settings.DATABASE_ROUTERS = [Router()]
    backend = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {"rows": {"BACKEND": backend, "LOCATION": "cached"}}
    collector = CacheCollector(Surroundings())
    assert show(collector) == {"up rows": 0}
    call_command("createcachetable", database="main", verbosity=0)
    assert show(collector)["up rows"] == 1
    assert path.exists()


class Router:
    """Everything is in one database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "main"

    db_for_write = db_for_read
