"""Caches of odd kinds."""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


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
