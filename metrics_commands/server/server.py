"""Serve on sockets that listen already, until the end is requested; then drain and close."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from tornado.web import Application, RequestHandler

from . import systemd
from .connections import Listener
from .handlers import HealthHandler, NotFoundHandler, ReadyHandler, Service
from .scrape import ScrapeHandler
from .shutdown import Shutdown
from .status import DocumentHandler, FileHandler, StatusHandler

logger = logging.getLogger("metrics_commands")

DRAIN_SECONDS = 4.0
CLOSE_SECONDS = 0.5
STEP = 0.02


def serve(
    sockets: Iterable[socket.socket],
    service: Service,
    shutdown: Shutdown,
    find_context: Callable[[], ssl.SSLContext | None] = lambda: None,
    reload: Callable[[], None] = lambda: None,
) -> int:
    """Answer requests until ``shutdown`` is requested; return when all is closed, within 5 s.

    ``find_context`` gives the TLS context for a new connection, None for plain HTTP; ``reload``
    is called at SIGHUP. Returns how many scrapes were cut off, because they took too long.
    """
    return asyncio.run(_serve(sockets, service, shutdown, find_context, reload))


async def _serve(
    sockets: Iterable[socket.socket],
    service: Service,
    shutdown: Shutdown,
    find_context: Callable[[], ssl.SSLContext | None],
    reload: Callable[[], None],
) -> int:
    listener = Listener(
        make_application(service), connections=service.connections, find_context=find_context
    )
    listener.add_sockets(sockets)
    watchdog = asyncio.create_task(_feed_watchdog())
    systemd.notify(systemd.READY)
    while await shutdown.wait():
        systemd.notify(systemd.reloading())
        reload()
        systemd.notify(systemd.READY)
    systemd.notify(systemd.STOPPING)
    activity = service.activity
    activity.stopping = True
    deadline = time.monotonic() + DRAIN_SECONDS
    while activity.in_flight and time.monotonic() < deadline:
        await asyncio.sleep(STEP)
    cut_off = activity.in_flight
    listener.stop()
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(listener.close_all_connections(), CLOSE_SECONDS)
    watchdog.cancel()
    return cut_off


async def _feed_watchdog() -> None:
    """Tell systemd that the event loop turns, twice as often as it asks for."""
    seconds = systemd.watchdog_seconds()
    while seconds is not None:
        systemd.notify(systemd.ALIVE)
        await asyncio.sleep(seconds / 2)


def make_application(service: Service) -> Application:
    """Build the routes."""
    shared = {"service": service}
    files = service.status.files if service.status else {}
    return Application(
        [
            (re.escape(service.telemetry.path), ScrapeHandler, shared),
            ("/", StatusHandler, shared),
            (re.escape("/status.json"), DocumentHandler, shared),
            *((re.escape(path), FileHandler, shared) for path in files),
            ("/-/healthy", HealthHandler, shared),
            ("/-/ready", ReadyHandler, shared),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=shared,
        log_function=_log_access if service.access_log else _keep_quiet,
    )


def _keep_quiet(handler: RequestHandler) -> None:
    """Log no access."""


def _log_access(handler: RequestHandler) -> None:
    """Log one request without its query, and so that no client can forge a line."""
    request = handler.request
    seconds = round(request.request_time(), 6)
    fields = {
        "peer": request.remote_ip,
        "method": ascii(request.method)[1:-1],
        # A target that begins with a scheme may hold a password.
        "path": ascii(request.path)[1:-1] if request.path.startswith("/") else "",
        "status": handler.get_status(),
        "seconds": seconds,
    }
    line = "%(peer)s %(method)s %(path)s %(status)d in %(seconds).3f s"
    logger.info(line, fields, extra={"fields": fields})
