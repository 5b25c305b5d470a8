"""The decorator that makes a function a collector; it takes note, and checks nothing.

Nothing is imported here either, so that a worker which comes by pays nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[[], object])

DECLARATIONS: list[Declaration] = []


@dataclass(frozen=True)
class Declaration:
    """What somebody wrote above a function, right or wrong, and where that stands."""

    function: Any
    name: Any
    interval: Any
    timeout: Any
    labels: Any
    module: str
    file: str
    line: int
    unknown: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Return file and line, as a traceback has them."""
        return f"{self.file}:{self.line}"


@overload
def collector(function: F, /) -> F: ...


@overload
def collector(
    *,
    name: str | None = None,
    interval: float | None = None,
    timeout: float | None = None,
    labels: str | Sequence[str] = (),
) -> Callable[[F], F]: ...


def collector(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    interval: float | None = None,
    timeout: float | None = None,
    labels: str | Sequence[str] = (),
    **unknown: object,
) -> F | Callable[[F], F]:
    """Let the exporter call this function for numbers; everywhere else it stays what it is.

    It yields families of prometheus_client, or returns a number, a mapping of label values to
    numbers, or rows that end with the number. ``name`` is the function's own if not given, and
    ``labels`` names the label values. With an ``interval`` it is called at most once in so many
    seconds, without at each scrape; ``timeout`` is the longest that a scrape waits for it.
    """
    caller = sys._getframe(1)  # noqa: SLF001
    module = str(caller.f_globals.get("__name__"))
    where = (module, caller.f_code.co_filename, caller.f_lineno)

    def declare(function: F) -> F:
        given = (function, name, interval, timeout, labels)
        DECLARATIONS.append(Declaration(*given, *where, tuple(unknown)))
        return function

    return declare if function is None else declare(function)
