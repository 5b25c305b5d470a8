"""Serve on sockets that listen already, until the end is requested; then drain and close."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable
from contextlib import suppress

from tornado.httpserver import HTTPServer

from .handlers import Activity, Telemetry, make_application
from .shutdown import Shutdown

IDLE_SECONDS = 75
BODY_SECONDS = 10
MOST_BYTES = 32 * 1024
DRAIN_SECONDS = 4.0
CLOSE_SECONDS = 0.5
STEP = 0.02


def serve(sockets: Iterable[socket.socket], telemetry: Telemetry, shutdown: Shutdown) -> int:
    """Answer requests until ``shutdown`` is requested; return when all is closed, within 5 s.

    Returns how many scrapes were cut off, because they took longer than that.
    """
    return asyncio.run(_serve(sockets, telemetry, shutdown))


async def _serve(sockets: Iterable[socket.socket], telemetry: Telemetry, shutdown: Shutdown) -> int:
    activity = Activity()
    server = HTTPServer(
        make_application(telemetry, activity),
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
    cut_off = activity.in_flight
    server.stop()
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(server.close_all_connections(), CLOSE_SECONDS)
    return cut_off
