"""Keep trying what passes by itself: at once, again and again, and never silently."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..server.shutdown import EndedEarly, Shutdown

logger = logging.getLogger("metrics_commands")

RETRY_SECONDS = 0.2
REMIND_SECONDS = 60.0

T = TypeVar("T")


class Patience:
    """Wait up to so many seconds (``math.inf``: for ever), or until the end is requested."""

    def __init__(self, seconds: float, shutdown: Shutdown) -> None:
        self._shutdown = shutdown
        self._deadline = time.monotonic() + seconds
        self._reminded = -math.inf

    def wait(self, explain: Callable[[], str], remind: Callable[[], str] | None = None) -> bool:
        """Sleep a little and return True, or return False when there is no time left.

        ``explain`` is asked at first, and then once a minute ``remind``, if given; what they say
        is logged. Raises EndedEarly where a signal ends the wait.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            return False
        if time.monotonic() - self._reminded >= REMIND_SECONDS:
            tell = explain if remind is None or self._reminded == -math.inf else remind
            self._reminded = time.monotonic()
            logger.warning("%s", tell())
        self._shutdown.sleep(min(RETRY_SECONDS, left))
        self._stop_if_requested()
        return True

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` does in a thread: a name lookup that hangs cannot be interrupted."""
        outcome: list[T] = []
        errors: list[BaseException] = []

        def attempt() -> None:
            try:
                outcome.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=attempt, name="lookup", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(RETRY_SECONDS)
            self._stop_if_requested()
        for error in errors:
            raise error
        return outcome[0]

    def _stop_if_requested(self) -> None:
        if self._shutdown.requested:
            raise EndedEarly
