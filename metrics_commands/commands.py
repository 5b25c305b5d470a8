"""Time the stages of a command or any other job, and count the records that they process.

::

    from metrics_commands.commands import stage

    with stage("load") as loading:
        for batch in batches:
            loading.add(len(load(batch)))

    @stage("clean up")
    def clean_up():
        ...

The exporter shows them by command and stage, with the command ``""`` where none runs, as in a
web worker. The decorator is for functions and coroutine functions, and a stage may be entered
again and again: a command's time in it adds up. How often commands run, and how they end, is
counted without any of this.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from time import perf_counter
from typing import Any, TypeVar, cast

from .instrumentation.commands import record_processed, record_stage

Function = TypeVar("Function", bound=Callable[..., Any])


class Stage:
    """One stay in a stage, as a context manager; or, as a decorator, one for each call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._start = 0.0

    def add(self, records: float = 1) -> None:
        """Count records as processed, now; what is no count is logged, and never raised."""
        record_processed(self.name, records)

    def __enter__(self) -> Stage:
        self._start = perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        record_stage(self.name, perf_counter() - self._start)

    def __call__(self, function: Function) -> Function:
        if iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                with Stage(self.name):
                    return await function(*args, **kwargs)

            return cast(Function, run_async)

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with Stage(self.name):
                return function(*args, **kwargs)

        return cast(Function, run)


def stage(name: str) -> Stage:
    """Return a stage of a name, of which there must not be many."""
    return Stage(name)
