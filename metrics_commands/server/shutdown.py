"""Ask the process to end, or to reload, by signal; handlers only set flags and wake a waiter."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STEP = 0.1


class EndedEarly(BaseException):
    """A signal came before there was anything to end in order."""


class Shutdown:
    """A context in which SIGTERM and SIGINT request an orderly end; a second one ends at once.

    Until ``begin`` the first one raises EndedEarly, through whatever code runs just then.
    SIGHUP requests a reload; where the terminal that we were started from has gone, the end.
    """

    def __init__(self) -> None:
        self.requested = False
        self._reload = False
        self._begun = False
        self._wake: Callable[[], object] | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._terminal = _find_terminal()

    def __enter__(self) -> Shutdown:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                each: signal.signal(each, self._handle) for each in (*SIGNALS, signal.SIGHUP)
            }
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
        if number == signal.SIGHUP and not self._lost_terminal():
            self.request_reload()
            return
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not self._begun:
            raise EndedEarly
        self.request()

    def _lost_terminal(self) -> bool:
        """Tell whether a terminal was closed: who started us would leave the port taken."""
        if self._terminal is None or self._previous.get(signal.SIGHUP) == signal.SIG_IGN:
            return False
        try:
            os.tcgetpgrp(self._terminal)
        except OSError:
            return True
        return False

    def request(self) -> None:
        """Ask for the end."""
        self.requested = True
        if self._wake is not None:
            self._wake()

    def request_reload(self) -> None:
        """Ask for a reload."""
        self._reload = True
        if self._wake is not None:
            self._wake()

    def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the request."""
        # No lock or event: a handler that runs inside one of them would wait for itself.
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(STEP, left))

    async def wait(self) -> bool:
        """Wait in an event loop; return True when a reload is asked for, False for the end."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(woken.set)
        with _woken_by_signals(loop):
            if not self.requested and not self._reload:
                await woken.wait()
        self._wake = None
        self._reload, reload = False, self._reload
        return reload and not self.requested


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the loop also where it comes just before the loop falls asleep.

    Python runs a handler only between two of its own steps, so that it would run at the next event.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    bell, rope = socket.socketpair()
    with bell, rope:
        bell.setblocking(False)
        rope.setblocking(False)
        previous = signal.set_wakeup_fd(rope.fileno(), warn_on_full_buffer=False)
        loop.add_reader(bell, bell.recv, 4096)
        try:
            yield
        finally:
            loop.remove_reader(bell)
            signal.set_wakeup_fd(previous)


def _find_terminal() -> int | None:
    """Return a descriptor of the terminal that we were started from."""
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError):
            if stream is not None and stream.isatty():
                return stream.fileno()
    return None
