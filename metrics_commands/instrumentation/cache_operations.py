"""What each operation of a cache is counted as, and what of it the caller must not notice."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Any

from .cache_families import FAIL, HIT, MISS, OK, REFUSED, CacheKind, record_operation
from .guard import report_loss

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


class Missing:
    """The type of what ``get`` is told to return for no value."""

    def __reduce__(self) -> str:
        # A backend may copy or pickle it: by its name it is itself again.
        return "MISSING"


MISSING = Missing()


class Call:
    """One operation while it runs; what its cache is asked meanwhile is part of it.

    ``note`` is what the operation must remember, ``inner`` the operations that it consists of,
    ``elsewhere`` the seconds that it spent in the caller's own code.
    """

    __slots__ = ("alias", "elsewhere", "inner", "note")

    def __init__(self, alias: str, note: Any = None) -> None:
        self.alias = alias
        self.note = note
        self.inner: set[str] = set()
        self.elsewhere = 0.0


# Contexts are copied to the threads in which async operations run the sync ones.
current_call: ContextVar[Call | None] = ContextVar("metrics_commands_cache_call", default=None)


class Operation:
    """One operation of one cache, whose result says nothing: it was done, or it failed.

    ``known`` is whether a method with known parameters does it; any other one is called with the
    very arguments of the caller.
    """

    def __init__(self, alias: str, backend: str, name: str, *, known: bool) -> None:
        self.alias = alias
        self.name = name
        self.known = known
        self.hit, self.miss, self.ok, self.refused, self.failed = (
            CacheKind(alias, backend, name, result) for result in (HIT, MISS, OK, REFUSED, FAIL)
        )

    def prepare(self, arguments: Arguments, keywords: Keywords) -> tuple[Arguments, Keywords, Call]:
        """Return the arguments to call the backend with, and the call."""
        return arguments, keywords, Call(self.alias)

    def end(self, call: Call, result: Any, seconds: float) -> Any:
        """Count the call, and return what its caller gets."""
        try:
            record_operation(self.judge(result), seconds)
        except Exception:
            report_loss("results of cache operations")
        return result

    def fail(self, call: Call, error: Exception, seconds: float) -> None:
        """Count a call that raised."""
        record_operation(self.failed, seconds)

    def judge(self, result: Any) -> CacheKind:
        """Return what a result is counted as."""
        return self.ok


class Store(Operation):
    """``set`` and ``add``: refused where the cache says so, as add does for a key it has."""

    def judge(self, result: Any) -> CacheKind:
        return self.ok if result is None or result else self.refused


class StoreMany(Operation):
    """``set_many``, which returns the keys that were refused."""

    def judge(self, result: Any) -> CacheKind:
        return self.refused if result else self.ok


class Find(Operation):
    """``has_key``, ``touch`` and ``delete``: they tell whether the key was there."""

    def judge(self, result: Any) -> CacheKind:
        if result is None:
            return self.ok
        return self.hit if result else self.miss


class Change(Operation):
    """``incr`` and its like, which raise ValueError where the key is not there."""

    def judge(self, result: Any) -> CacheKind:
        return self.ok if result is None else self.hit

    def fail(self, call: Call, error: Exception, seconds: float) -> None:
        # Not a subclass of it: InvalidCacheKey is one.
        record_operation(self.miss if type(error) is ValueError else self.failed, seconds)


class Get(Operation):
    """``get``: any value is a hit, None included; the caller's default comes back for a miss.

    Of a method that is not known, None and the caller's default are misses.
    """

    def prepare(self, arguments: Arguments, keywords: Keywords) -> tuple[Arguments, Keywords, Call]:
        default = arguments[1] if len(arguments) > 1 else keywords.get("default")
        call = Call(self.alias, default)
        if not self.known:
            return arguments, keywords, call
        if len(arguments) > 1:
            return (arguments[0], MISSING, *arguments[2:]), keywords, call
        return arguments, keywords | {"default": MISSING}, call

    def end(self, call: Call, result: Any, seconds: float) -> Any:
        if result is MISSING:
            record_operation(self.miss, seconds)
            return call.note
        missed = not self.known and (result is None or result is call.note)
        record_operation(self.miss if missed else self.hit, seconds)
        return result


class GetMany(Operation):
    """``get_many``: a hit or a miss for each key asked for; its calls are those of its time.

    Where a method that is not known used up an iterator of keys, only the hits are counted.
    """

    def prepare(self, arguments: Arguments, keywords: Keywords) -> tuple[Arguments, Keywords, Call]:
        if not self.known:
            keys = arguments[0] if arguments else keywords.get("keys")
            return arguments, keywords, Call(self.alias, None if is_iterator(keys) else keys)
        if arguments:
            keys = keep(arguments[0])
            return (keys, *arguments[1:]), keywords, Call(self.alias, keys)
        if "keys" in keywords:
            keywords["keys"] = keep(keywords["keys"])
        return arguments, keywords, Call(self.alias, keywords.get("keys", ()))

    def end(self, call: Call, result: Any, seconds: float) -> Any:
        if not isinstance(result, dict):
            record_operation(self.ok, seconds)
            return result
        try:
            keys = result if call.note is None else call.note
            hits = sum(map(result.__contains__, keys))
            record_operation(self.hit, seconds, hits)
            record_operation(self.miss, None, len(keys) - hits)
        except Exception:
            report_loss("results of get_many")
        return result


def keep(keys: Any) -> Any:
    """Return keys that can be gone through twice, as an iterator cannot."""
    return list(keys) if is_iterator(keys) else keys


def is_iterator(keys: Any) -> bool:
    """Tell whether going through keys uses them up."""
    return hasattr(type(keys), "__next__")


class GetOrSet(Operation):
    """``get_or_set``: one lookup, whatever it consists of; the default's own work is not in it.

    The time of a method that is not known includes that work.
    """

    def prepare(self, arguments: Arguments, keywords: Keywords) -> tuple[Arguments, Keywords, Call]:
        call = Call(self.alias)
        if not self.known:
            return arguments, keywords, call
        if len(arguments) > 1:
            key, default, *rest = arguments
            arguments = (key, compute_outside(call, default), *rest)
        elif "default" in keywords:
            keywords["default"] = compute_outside(call, keywords["default"])
        return arguments, keywords, call

    def end(self, call: Call, result: Any, seconds: float) -> Any:
        if "add" in call.inner or "set" in call.inner:
            kind = self.miss
        else:
            # A backend that does it in one step does not tell which it was.
            kind = self.hit if "get" in call.inner else self.ok
        record_operation(kind, seconds - call.elsewhere)
        return result

    def fail(self, call: Call, error: Exception, seconds: float) -> None:
        # An error of the caller's default is none of the cache's.
        kind = self.miss if call.note is type(error) else self.failed
        record_operation(kind, seconds - call.elsewhere)


def compute_outside(call: Call, default: Any) -> Any:
    """Return a default whose work, cache operations of its own included, is no part of a call."""
    if not callable(default):
        return default

    def compute() -> Any:
        within = current_call.get()
        current_call.set(None)
        start = perf_counter()
        try:
            return default()
        except Exception as error:
            call.note = type(error)
            raise
        finally:
            call.elsewhere += perf_counter() - start
            current_call.set(within)

    return compute


OPERATIONS: dict[str, type[Operation]] = {
    "get": Get,
    "get_many": GetMany,
    "get_or_set": GetOrSet,
    "set": Store,
    "add": Store,
    "set_many": StoreMany,
    "has_key": Find,
    "touch": Find,
    "delete": Find,
    "delete_many": Operation,
    "clear": Operation,
    "incr": Change,
    "decr": Change,
    "incr_version": Change,
    "decr_version": Change,
}
