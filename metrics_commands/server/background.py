"""Work off the event loop, in threads that do not keep the process from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_in_thread(name: str, work: Callable[[], T], *expected: type[Exception]) -> T:
    """Run work in a daemon thread; what it raises becomes a RuntimeError, if not ``expected``."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if not future.cancelled():
            future.set_result(result)

    def fail(error: Exception) -> None:
        if not future.cancelled():
            future.set_exception(error)

    def run() -> None:
        try:
            try:
                loop.call_soon_threadsafe(succeed, work())
            except expected as error:
                loop.call_soon_threadsafe(fail, error)
            except BaseException as raised:
                # As itself, an exit would end the server, and a cancellation never be answered.
                failure = RuntimeError(f"the thread for the {name} has failed")
                failure.__cause__ = raised
                loop.call_soon_threadsafe(fail, failure)
        except RuntimeError:
            # The loop is closed: the process is ending, and nobody waits any more.
            return

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
