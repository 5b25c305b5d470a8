"""Answer each path: the metrics, a start page, health and readiness; everything else is refused."""

from __future__ import annotations

import asyncio
import html
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import responses
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

logger = logging.getLogger("metrics_commands")

MOST_REQUESTS = 40
WRITE_SECONDS = 30
START_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Django metrics</title></head>
<body>
<h1>Django metrics</h1>
<p>One process serves the metrics of every worker of a Django project.</p>
<ul>
<li><a href="{path}">Metrics</a></li>
<li><a href="/-/healthy">Health</a></li>
<li><a href="/-/ready">Readiness</a></li>
</ul>
</body>
</html>
"""


@dataclass(frozen=True)
class Telemetry:
    """The page of metrics: ``gather`` makes its bytes, in a thread of its own."""

    path: str
    content_type: str
    gather: Callable[[], bytes]


@dataclass
class Activity:
    """What the handlers share: whether the server is about to end, and what is in flight."""

    stopping: bool = False
    gathering: int = 0
    in_flight: int = 0


def make_application(telemetry: Telemetry, activity: Activity) -> Application:
    """Build the routes."""
    scrape = {"telemetry": telemetry, "activity": activity}
    return Application(
        [
            (re.escape(telemetry.path), ScrapeHandler, scrape),
            ("/", StartHandler, {"telemetry_path": telemetry.path}),
            ("/-/healthy", HealthHandler),
            ("/-/ready", ReadyHandler, {"activity": activity}),
        ],
        default_handler_class=NotFoundHandler,
        log_function=_log_request,
    )


def _log_request(handler: RequestHandler) -> None:
    request = handler.request
    logger.debug("%s %s %s", handler.get_status(), request.method, ascii(request.uri))


class PlainHandler(RequestHandler):
    """Answer errors in one plain line, and disclose nothing about what serves."""

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def compute_etag(self) -> str | None:
        """Return nothing: no two pages are alike, and hashing one costs more than sending it."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", "GET, HEAD")
        self.finish(f"{responses.get(status_code, 'Error')}\n")

    def log_exception(self, *exception: Any) -> None:
        if not isinstance(exception[1], HTTPError):
            logger.error("Answering %s failed.", ascii(self.request.path), exc_info=exception)


class NotFoundHandler(PlainHandler):
    """Refuse every other path."""

    def prepare(self) -> None:
        raise HTTPError(404)


class ScrapeHandler(PlainHandler):
    """Serve the metrics: gathered off the event loop, a bounded number at a time."""

    def initialize(self, telemetry: Telemetry, activity: Activity) -> None:
        self._telemetry = telemetry
        self._activity = activity

    async def get(self) -> None:
        if cast(HTTP1Connection, self.request.connection).stream.closed():
            # One of many requests that were sent at once, by a client that has gone.
            return
        if self._activity.stopping:
            raise HTTPError(503)
        if self._activity.gathering >= MOST_REQUESTS:
            self.set_status(503)
            self.finish(
                f"Limit of concurrent requests reached ({MOST_REQUESTS}), try again later.\n"
            )
            return
        self._activity.in_flight += 1
        try:
            await self._answer()
        except asyncio.CancelledError:
            # Only the end of the server cancels; Tornado before 6.6 logs that as an error.
            raise HTTPError(503) from None
        finally:
            self._activity.in_flight -= 1

    async def _answer(self) -> None:
        self._activity.gathering += 1
        try:
            page = await run_in_thread(self._telemetry.gather)
        finally:
            self._activity.gathering -= 1
        self.set_header("Content-Type", self._telemetry.content_type)
        connection = self.request.connection
        try:
            # Awaited, so that a server that ends waits until the client has the whole page.
            await asyncio.wait_for(self.finish(page), WRITE_SECONDS)
        except StreamClosedError:
            logger.debug("A client left before it had the whole page.")
        except asyncio.TimeoutError:
            logger.debug("A client did not read the page within %d s.", WRITE_SECONDS)
            cast(HTTP1Connection, connection).close()

    async def head(self) -> None:
        """Answer without gathering, so without a length."""
        self.set_header("Content-Type", self._telemetry.content_type)
        await self.flush()


class StartHandler(PlainHandler):
    """Show a person where to go; gather nothing."""

    def initialize(self, telemetry_path: str) -> None:
        self._path = telemetry_path

    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.finish(START_PAGE.format(path=html.escape(self._path)))

    head = get


class HealthHandler(PlainHandler):
    """Say that the process lives."""

    def get(self) -> None:
        self.finish("Django metrics exporter is Healthy.\n")

    head = get


class ReadyHandler(PlainHandler):
    """Say whether a scrape will be answered; no longer when the server is about to end."""

    def initialize(self, activity: Activity) -> None:
        self._activity = activity

    def get(self) -> None:
        if self._activity.stopping:
            self.set_status(503)
            self.finish("Service Unavailable\n")
        else:
            self.finish("Django metrics exporter is Ready.\n")

    head = get


async def run_in_thread(work: Callable[[], bytes]) -> bytes:
    """Run work in a daemon thread: one that never returns must not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()

    def settle(result: bytes | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        elif result is not None:
            future.set_result(result)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            # As itself, an exit would end the server, and a cancellation would never be answered.
            error = RuntimeError("the page could not be made")
            error.__cause__ = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop is closed: the process is ending, and nobody waits any more.
            return

    threading.Thread(target=run, name="scrape", daemon=True).start()
    return await future
