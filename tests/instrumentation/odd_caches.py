"""Backends whose methods are unlike Django's, as applications have them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.cache import BaseCache
from django.core.cache.backends.locmem import LocMemCache

# mypy: disable-error-code="override"


class KeyOnly(LocMemCache):
    """Take no default."""

    def get(self, key: str) -> Any:
        return super().get(key)


class OtherName(LocMemCache):
    """Call the default something else."""

    def get(self, key: str, failobj: Any = None, version: int | None = None) -> Any:
        return super().get(key, failobj, version)


class VersionSecond(LocMemCache):
    """Take the version where the default would be."""

    def get(self, key: str, version: int | None = None) -> Any:
        return super().get(key, None, version)


class TwoTiers(LocMemCache):
    """Look elsewhere for what is None."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        value = super().get(key, default, version)
        return f"second tier's {key}" if value is None else value


class AsyncTiers(LocMemCache):
    """Look elsewhere in the async method only."""

    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        value = await super().aget(key, default, version)
        return "second tier's" if value is None else value


class CallingDefault(LocMemCache):
    """Call a default that can be called."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        value = super().get(key, None, version)
        if value is not None:
            return value
        return default() if callable(default) else default


class TellingDefault(LocMemCache):
    """Tell what the default is."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return super().get(key, None, version), type(default)


class Positional(LocMemCache):
    """Take anything, and tell what it was."""

    def get(self, *arguments: Any, **keywords: Any) -> Any:
        return arguments, keywords

    def get_many(self, *arguments: Any, **keywords: Any) -> Any:
        return [type(each).__name__ for each in arguments], keywords

    def get_or_set(self, *arguments: Any, **keywords: Any) -> Any:
        return arguments, keywords


class LazyMany(LocMemCache):
    """Draw keys one by one, and give values in the same way."""

    def get_many(self, keys: Iterator[str], version: int | None = None) -> Any:
        return (f"value of {next(keys)}" for _ in range(2))


class DrawingMany(LocMemCache):
    """Have a get_many of the application, which goes through the keys once."""

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        return {key: self.get(key) for key in keys if key in self}


class KeyedDefault(LocMemCache):
    """Call the default of get_or_set with the key."""

    def get_or_set(self, key: str, default: Callable[[str], Any], timeout: int = 9) -> Any:
        return super().get_or_set(key, default(key), timeout)


class Static(LocMemCache):
    """Need no cache to answer."""

    @staticmethod
    def get(key: str) -> str:
        return f"static {key}"

    @classmethod
    def has_key(cls, key: str) -> bool:
        return key == cls.__name__


def pass_on(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method by the name and module of another, with None for what is not there."""

    @functools.wraps(method)
    def perform(self: BaseCache, key: str, default: Any = None) -> Any:
        return f"default {default!r}" if default is not None else method(self, key)

    return perform


class Decorated(LocMemCache):
    """Have Django's method in a decorator that does something else."""

    get = pass_on(LocMemCache.get)


def omit(method: Callable[..., Any]) -> Any:
    """Return a method in a decorator that is django-redis's, as its subclasses use it."""
    module: dict[str, Any] = {"__name__": "django_redis.cache", "method": method}
    exec("def perform(self, *args, **kwargs): return method(self, *args, **kwargs)", module)
    return functools.wraps(method)(module["perform"])


class Omitting(LocMemCache):
    """Have a method of the application in a decorator that is known."""

    get = omit(TwoTiers.get)


KINDS: list[type[LocMemCache]] = [
    LocMemCache, KeyOnly, OtherName, VersionSecond, TwoTiers, AsyncTiers, CallingDefault,
    TellingDefault, Positional, LazyMany, DrawingMany, KeyedDefault, Static, Decorated, Omitting,
]  # fmt: skip
