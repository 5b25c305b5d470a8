"""Work that is done while somebody looks at its result: at most so often, one at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

logger = logging.getLogger("metrics_commands")

T = TypeVar("T")


@dataclass(frozen=True)
class Result(Generic[T]):
    """What work has returned, and when it began."""

    value: T
    began: float


class Repetition(Generic[T]):
    """Do work in a thread whenever its result is asked for and older than ``interval`` seconds."""

    def __init__(self, name: str, work: Callable[[], T], interval: float) -> None:
        self._name = name
        self._work = work
        self._interval = interval
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began = -interval
        self._result: Result[T] | None = None

    def get(self, patience: float) -> Result[T] | None:
        """Return the last result; the first one is waited for, so many seconds."""
        with self._lock:
            idle = self._thread is None or not self._thread.is_alive()
            if idle and time.monotonic() - self._began >= self._interval:
                self._began = time.monotonic()
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            thread = self._thread
        if self._result is None and thread is not None:
            thread.join(patience)
        return self._result

    def _run(self) -> None:
        began = self._began
        try:
            self._result = Result(self._work(), began)
        except Exception:
            logger.exception("The status page is without its %s.", self._name)
