"""Count what caches are asked, whatever their backend, from where Django makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial, wraps
from inspect import getattr_static, isfunction
from time import perf_counter
from types import FunctionType, MethodType, new_class
from typing import Any

from django.core.cache import BaseCache, caches

from .cache_families import cache_families, record_operation
from .cache_operations import MISSING, OPERATIONS, Call, Operation, current_call
from .guard import report_loss

Method = Callable[..., Any]

# The names that django-prometheus has for backends, and those it might have.
BACKENDS = {
    "django.core.cache.backends.db.DatabaseCache": "database",
    "django.core.cache.backends.dummy.DummyCache": "dummy",
    "django.core.cache.backends.filebased.FileBasedCache": "filebased",
    "django.core.cache.backends.locmem.LocMemCache": "locmem",
    "django.core.cache.backends.memcached.BaseMemcachedCache": "memcached",
    "django.core.cache.backends.redis.RedisCache": "native_redis",
    "django_memcached_consul.memcached.MemcachedCache": "django_memcached_consul",
    "django_redis.cache.RedisCache": "redis",
}
PEER = "django_prometheus."

# Where the methods are whose parameters and results are known.
KNOWN = ("django.core.cache.backends.", "django_redis.")

_watched: dict[tuple[type, str], type] = {}


@cache
def watch_caches() -> None:
    """Count the operations of all caches of this process, once; those made already included."""
    try:
        cache_families()
        create = caches.create_connection
        vars(caches)["create_connection"] = lambda alias: watch_cache(alias, create(alias))
        # Where no cache was asked for yet, the settings may still change.
        if "settings" in vars(caches):
            for alias in caches:
                if hasattr(vars(caches)["_connections"], alias):
                    watch_cache(alias, caches[alias])
    except Exception:
        report_loss("caches")


def watch_cache(alias: str, made: BaseCache) -> BaseCache:
    """Make a cache count its operations; one that cannot be made to stays as it is."""
    try:
        backend: type[Any] = type(made)
        # What counts already would be counted twice.
        if backend in list(_watched.values()) or is_of_peer(backend):
            return made
        # Threads may come here together: setdefault() gives all of them the same class.
        known = _watched.get((backend, alias))
        made.__class__ = known or _watched.setdefault(
            (backend, alias), make_watched(backend, alias)
        )
    except Exception:
        report_loss(f"the cache {alias}")
    return made


def is_of_peer(backend: type) -> bool:
    """Tell whether a backend is one of django-prometheus's, or made of one."""
    return any(each.__module__.startswith(PEER) for each in backend.__mro__)


def make_watched(backend: type[BaseCache], alias: str) -> type[BaseCache]:
    """Return a subclass of a backend that counts, and by its name is that backend."""

    def fill(namespace: dict[str, Any]) -> None:
        namespace["__module__"] = backend.__module__
        namespace["__qualname__"] = backend.__qualname__
        namespace["__doc__"] = backend.__doc__
        namespace["__reduce_ex__"] = reduce_plainly(backend)
        namespace.update(watch_methods(backend, alias))

    return new_class(backend.__name__, (backend,), exec_body=fill)


def name_backend(backend: type[BaseCache]) -> str:
    """Return what the label ``backend`` calls a class: the name of the known one it is made of."""
    for each in backend.__mro__:
        known = BACKENDS.get(f"{each.__module__}.{each.__qualname__}")
        if known is not None:
            return known
    return backend.__name__.lower().removesuffix("cache") or "cache"


def watch_methods(backend: type[BaseCache], alias: str) -> Iterator[tuple[str, Any]]:
    """Yield the operations that a backend has, sync and async, by name."""
    label = name_backend(backend)
    for name, kind in OPERATIONS.items():
        known = is_known(backend, name)
        watch = watch_get if name == "get" and known else watch_sync
        for attribute, watch_one in ((name, watch), (f"a{name}", watch_async)):
            # Another callable, such as a static method, is not called with the cache first.
            if isfunction(getattr_static(backend, attribute, None)):
                method = getattr(backend, attribute)
                # Django's async methods call the sync ones: both must be known.
                sure = known and is_known(backend, attribute)
                watched = watch_one(method, kind(alias, label, name, known=sure))
                inherited = method is getattr(BaseCache, attribute, None)
                yield attribute, Inherited(alias, method, watched) if inherited else watched


class Inherited:
    """A method of Django's base class: to the cache's own methods it is that very one.

    By that Django's async methods tell whether a backend has a method of its own (from 6.1 on).
    """

    def __init__(self, alias: str, method: Method, watched: Method) -> None:
        self._alias = alias
        self._method = method
        self._watched = watched

    def __get__(self, cache: BaseCache | None, kind: type | None = None) -> Method:
        outer = current_call.get()
        within = outer is not None and outer.alias == self._alias
        method = self._method if within else self._watched
        return method if cache is None else MethodType(method, cache)


def is_known(backend: type, name: str) -> bool:
    """Tell whether a method is Django's or django-redis's own, and not an application's."""
    method = getattr_static(backend, name, None)
    if type(method) is not FunctionType:
        return False
    # A decorated one has the name of the module that it is from, and runs in the decorator's.
    modules = (method.__module__, method.__globals__.get("__name__"))
    return all(str(module).startswith(KNOWN) for module in modules)


def watch_sync(method: Method, operation: Operation) -> Method:
    """Return a method that counts itself, unless it is called by one of its own cache."""
    alias, name = operation.alias, operation.name

    @wraps(method)
    def perform(self: BaseCache, *arguments: Any, **keywords: Any) -> Any:
        outer = current_call.get()
        if outer is not None and outer.alias == alias:
            outer.inner.add(name)
            return method(self, *arguments, **keywords)
        arguments, keywords, call = operation.prepare(arguments, keywords)
        current_call.set(call)
        start = perf_counter()
        try:
            result = method(self, *arguments, **keywords)
        except Exception as error:
            operation.fail(call, error, perf_counter() - start)
            raise
        finally:
            # No reset(): a coroutine may be closed in another context, where that raises.
            current_call.set(outer)
        return operation.end(call, result, perf_counter() - start)

    return perform


def watch_get(method: Method, operation: Operation) -> Method:
    """Do the same for a known ``get`` in its plainest form, the most frequent call of all."""
    perform = watch_sync(method, operation)
    alias, hit, miss = operation.alias, operation.hit, operation.miss
    call = Call(alias)

    @wraps(method)
    def get(self: BaseCache, *arguments: Any, **keywords: Any) -> Any:
        outer = current_call.get()
        if outer is not None or keywords or len(arguments) != 1:
            return perform(self, *arguments, **keywords)
        current_call.set(call)
        start = perf_counter()
        try:
            result = method(self, arguments[0], MISSING)
        except Exception as error:
            operation.fail(call, error, perf_counter() - start)
            raise
        finally:
            current_call.set(None)
        seconds = perf_counter() - start
        if result is MISSING:
            record_operation(miss, seconds)
            return None
        record_operation(hit, seconds)
        return result

    return get


def watch_async(method: Method, operation: Operation) -> Method:
    """Do the same for a coroutine function."""
    alias, name = operation.alias, operation.name

    @wraps(method)
    async def perform(self: BaseCache, *arguments: Any, **keywords: Any) -> Any:
        outer = current_call.get()
        if outer is not None and outer.alias == alias:
            outer.inner.add(name)
            return await method(self, *arguments, **keywords)
        arguments, keywords, call = operation.prepare(arguments, keywords)
        current_call.set(call)
        start = perf_counter()
        try:
            result = await method(self, *arguments, **keywords)
        except Exception as error:
            operation.fail(call, error, perf_counter() - start)
            raise
        finally:
            current_call.set(outer)
        return operation.end(call, result, perf_counter() - start)

    return perform


def reduce_plainly(backend: type[BaseCache]) -> Method:
    """Return a method that pickles and copies a cache as one of its plain backend."""

    def reduce(self: BaseCache, protocol: Any) -> Any:
        reduced = backend.__reduce_ex__(self, protocol)
        if isinstance(reduced, str):
            return reduced
        make, arguments, *rest = reduced
        plain = [backend if each is type(self) else each for each in arguments]
        return (partial(make, *plain), (), *rest)

    return reduce
