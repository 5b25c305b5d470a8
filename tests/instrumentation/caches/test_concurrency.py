"""What caches are asked at once, by coroutines, threads and forks, is counted exactly."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from tests.processes import ROOT, clean_environment, run

from .counts import OPERATIONS, count, one


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
