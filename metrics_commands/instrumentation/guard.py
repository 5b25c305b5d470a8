"""Keep a failure of metrics away from the application."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

logger = logging.getLogger("metrics_commands")

P = ParamSpec("P")

_reported: set[str] = set()


def harmless(record: Callable[P, None]) -> Callable[P, None]:
    """Make a recording function log its first failure instead of raising any."""

    @wraps(record)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            record(*args, **kwargs)
        except Exception:
            if record.__qualname__ not in _reported:
                _reported.add(record.__qualname__)
                logger.exception("A metric was lost; further losses here are not logged.")

    return guarded
