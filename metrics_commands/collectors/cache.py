"""Whether each cache answers, how fast, and what Redis tells of itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import Any, NamedTuple

from django.core.cache import BaseCache, caches
from django.utils.module_loading import import_string
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .databases import borrowed_databases
from .looks import Looks
from .registry import Surroundings, register

logger = logging.getLogger("metrics_commands")

INTERVAL_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 3.0
SOCKET_SECONDS = 2.0
# Nobody ever sets it.
KEY = "metrics_commands.ping"
REDIS = "django.core.cache.backends.redis.RedisCache"
DJANGO_REDIS = "django_redis.cache.RedisCache"
# These have no server, and nothing of the workers' in this process.
WITHOUT_SERVER = {
    "django.core.cache.backends.dummy.DummyCache",
    "django.core.cache.backends.filebased.FileBasedCache",
    "django.core.cache.backends.locmem.LocMemCache",
}
# Without them a look would last as long as a server is silent; and what ignores errors is never
# down.
LIMITS: Mapping[str, tuple[dict[str, object], dict[str, object]]] = {
    REDIS: ({"socket_timeout": SOCKET_SECONDS, "socket_connect_timeout": SOCKET_SECONDS}, {}),
    DJANGO_REDIS: (
        {"SOCKET_TIMEOUT": SOCKET_SECONDS, "SOCKET_CONNECT_TIMEOUT": SOCKET_SECONDS},
        {"IGNORE_EXCEPTIONS": False},
    ),
    "django.core.cache.backends.memcached.PyMemcacheCache": (
        {"timeout": SOCKET_SECONDS, "connect_timeout": SOCKET_SECONDS},
        {"ignore_exc": False},
    ),
}
OF_REDIS = {
    "used_memory": (
        GaugeMetricFamily,
        "memory_bytes",
        "Memory that the whole Redis server uses for its data.",
    ),
    "maxmemory": (
        GaugeMetricFamily,
        "max_memory_bytes",
        "Memory that the whole Redis server may use for its data; 0 where it has no limit.",
    ),
    "evicted_keys": (
        CounterMetricFamily,
        "evicted_keys",
        "Keys that the whole Redis server dropped for want of memory.",
    ),
    "keyspace_hits": (
        CounterMetricFamily,
        "keyspace_hits",
        "Look-ups of any client of the Redis server that found the key.",
    ),
    "keyspace_misses": (
        CounterMetricFamily,
        "keyspace_misses",
        "Look-ups of any client of the Redis server that did not find the key.",
    ),
}


class Answer(NamedTuple):
    """What a cache has answered; ``info`` is empty where it is no Redis."""

    seconds: float
    info: Mapping[str, Any]


@register("cache")
class CacheCollector:
    """Ask each cache that has a server for a key that is never set; nothing is written.

    One that is down or silent is ``up 0``, and the collector has worked.
    """

    interval = INTERVAL_SECONDS
    timeout = TIMEOUT_SECONDS

    def __init__(self, surroundings: Surroundings, patience: float = PATIENCE_SECONDS) -> None:
        self._prefix = surroundings.prefix
        self._aliases = [alias for alias in caches.settings if has_server(alias)]
        self._caches: dict[str, BaseCache] = {}
        self._told: set[str] = set()
        self._looks = Looks("cache", self._ask, patience)

    def collect(self) -> Iterable[Metric]:
        """Yield all families; raise for caches of which nothing could be known."""
        verdict = self._looks.judge(self._aliases)
        name = f"{self._prefix}django_cache"
        up = GaugeMetricFamily(f"{name}_up", "Whether a cache answers.", labels=["alias"])
        seconds = GaugeMetricFamily(
            f"{name}_ping_duration_seconds",
            "Time that a cache took to look up a key that it does not have.",
            labels=["alias"],
        )
        of_redis = {
            field: make(f"{name}_redis_{suffix}", documentation, labels=["alias"])
            for field, (make, suffix, documentation) in OF_REDIS.items()
        }
        for alias, answer in verdict.known.items():
            up.add_metric([alias], float(answer is not None))
            if answer is not None:
                seconds.add_metric([alias], answer.seconds)
                for field in OF_REDIS.keys() & answer.info.keys():
                    of_redis[field].add_metric([alias], float(answer.info[field]))
        yield from (up, seconds, *of_redis.values())
        if verdict.problems:
            raise RuntimeError("; ".join(verdict.problems))

    def _ask(self, alias: str) -> Answer:
        # Those in a database borrow it.
        with borrowed_databases():
            cache = self._caches.pop(alias, None)
            if cache is None:
                cache = make_cache(alias)
                # It connects at the first time.
                cache.get(KEY)
            begin = perf_counter()
            cache.get(KEY)
            seconds = perf_counter() - begin
            answer = Answer(seconds, self._ask_redis(alias, cache))
            # One that failed is not asked again: it may think its server dead for a minute.
            self._caches[alias] = cache
            return answer

    def _ask_redis(self, alias: str, cache: Any) -> Mapping[str, Any]:
        """Return what Redis tells; nothing where it must not, or is a cluster."""
        names = name_bases(type(cache))
        if not names & {REDIS, DJANGO_REDIS}:
            return {}
        clients = cache._cache if REDIS in names else cache.client  # noqa: SLF001
        try:
            info: Mapping[str, Any] = clients.get_client(write=True).info()
        except Exception as error:
            if alias not in self._told:
                self._told.add(alias)
                logger.warning("The Redis server of cache %s tells nothing: %s", alias, error)
            return {}
        return info


def has_server(alias: str) -> bool:
    """Tell whether a cache is more than this process's, or one whose backend cannot be had."""
    try:
        return not name_bases(import_string(caches.settings[alias]["BACKEND"])) & WITHOUT_SERVER
    except Exception:
        return True


def name_bases(kind: type) -> set[str]:
    """Return the dotted names of a class and of all it is made of."""
    return {f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__}


def make_cache(alias: str) -> BaseCache:
    """Return a cache of the exporter's own, which gives up soon."""
    settings = {**caches.settings[alias]}
    kind = import_string(settings.pop("BACKEND"))
    location = settings.pop("LOCATION", "")
    for name in name_bases(kind) & LIMITS.keys():
        defaults, limits = LIMITS[name]
        settings["OPTIONS"] = {**defaults, **settings.get("OPTIONS", {}), **limits}
    made: BaseCache = kind(location, settings)
    return made
