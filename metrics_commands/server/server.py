"""Serve on sockets that listen already, until the end is requested; then drain and close."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from tornado.httpserver import HTTPServer

from .handlers import Activity, Page, make_application
from .shutdown import Shutdown

IDLE_SECONDS = 75
BODY_SECONDS = 10
MOST_BYTES = 32 * 1024
DRAIN_SECONDS = 4.0
CLOSE_SECONDS = 0.5
STEP = 0.02


def serve(
    sockets: Iterable[socket.socket],
    telemetry_path: str,
    gather: Callable[[], Page],
    shutdown: Shutdown,
) -> None:
    """Answer requests until ``shutdown`` is requested; return when all is closed, within 5 s.

    ``gather`` returns the page of metrics; it is called in threads, possibly several at once.
    """
    asyncio.run(_serve(sockets, telemetry_path, gather, shutdown))


async def _serve(
    sockets: Iterable[socket.socket],
    telemetry_path: str,
    gather: Callable[[], Page],
    shutdown: Shutdown,
) -> None:
    activity = Activity()
    server = HTTPServer(
        make_application(telemetry_path, gather, activity),
        idle_connection_timeout=IDLE_SECONDS,
        body_timeout=BODY_SECONDS,
        max_header_size=MOST_BYTES,
        max_body_size=MOST_BYTES,
    )
    server.add_sockets(sockets)
    await shutdown.wait()
    activity.stopping = True
    deadline = time.monotonic() + DRAIN_SECONDS
    while activity.in_flight and time.monotonic() < deadline:
        await asyncio.sleep(STEP)
    server.stop()
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(server.close_all_connections(), CLOSE_SECONDS)
