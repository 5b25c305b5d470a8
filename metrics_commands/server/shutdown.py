"""Ask the process to end, by signal; the handlers only set a flag and wake who waits."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STEP = 0.1


class EndedEarly(BaseException):
    """A signal came before there was anything to end in order."""


class Shutdown:
    """A context in which SIGTERM and SIGINT request an orderly end; a second one ends at once.

    Until ``begin`` the first one raises EndedEarly, through whatever code runs just then.
    """

    def __init__(self) -> None:
        self.requested = False
        self._begun = False
        self._wake: Callable[[], object] | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Shutdown:
        if threading.current_thread() is threading.main_thread():
            self._previous = {each: signal.signal(each, self._handle) for each in SIGNALS}
        return self

    def begin(self) -> None:
        """From now on end in order; take the signals back from code that took them meanwhile."""
        self._begun = True
        for each in self._previous:
            signal.signal(each, self._handle)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not self._begun:
            raise EndedEarly
        self.request()

    def request(self) -> None:
        """Ask for the end."""
        self.requested = True
        if self._wake is not None:
            self._wake()

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the request."""
        # No lock or event: a handler that runs inside one of them would wait for itself.
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(STEP, left))

    async def wait(self) -> None:
        """Wait for the request in an event loop."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        if not self.requested:
            await woken.wait()
        self._wake = None
