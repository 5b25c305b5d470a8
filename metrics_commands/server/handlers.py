"""Answer health and readiness, as every answer is made; refuse every other path."""

from __future__ import annotations

import logging
from asyncio import Future
from collections.abc import Container
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, RequestHandler

from .activity import Activity
from .authentication import CHALLENGE
from .connections import IDLE_SECONDS, Connections
from .gate import Gate
from .status_pages import StatusPages
from .telemetry import PagesInWork, Telemetry

logger = logging.getLogger("metrics_commands")

METHODS = ("GET", "HEAD")
MOST_REQUESTS = 40
# From the first byte of an answer to its last.
WRITE_SECONDS = 30.0


@dataclass
class Service:
    """What the handlers share; ``most_requests`` are pages in work at once, 0 for any number.

    Without ``status`` everyone sees the small page.
    """

    telemetry: Telemetry
    gate: Gate
    activity: Activity
    connections: Connections
    most_requests: int = MOST_REQUESTS
    access_log: bool = False
    status: StatusPages | None = None
    pages: PagesInWork = field(init=False)

    def __post_init__(self) -> None:
        self.pages = PagesInWork(self.telemetry.make, self.most_requests)


class AnyMethod(Container[str]):
    """Let each method through to ``prepare``, which refuses it once it knows who asks for what."""

    def __contains__(self, method: object) -> bool:
        return True


class PlainHandler(RequestHandler):
    """Answer errors in one plain line, and disclose nothing about what serves."""

    SUPPORTED_METHODS = AnyMethod()  # type: ignore[assignment]

    def initialize(self, service: Service) -> None:
        self.service = service
        # No path takes a body. Tornado would parse one before ``prepare``, so of anybody, and
        # refuse a malformed one before the gate is asked.
        self.request.headers.pop("Content-Type", None)

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    @property
    def http(self) -> HTTP1Connection:
        """Return the connection as Tornado has it."""
        return cast(HTTP1Connection, self.request.connection)

    async def prepare(self) -> None:
        self.http.params.header_timeout = IDLE_SECONDS
        self.service.connections.turn(self.http.stream, busy=True)
        if self.service.gate.is_outdated(self.http.stream):
            # Without an answer, so that an HTTP client asks again on a new connection.
            self.http.close()
            raise HTTPError(421)
        await self.service.gate.admit(self.request)
        self.add_configured_headers()
        self.check_method()

    def add_configured_headers(self) -> None:
        """Set what the web configuration file adds to every answer, also to a refusal."""
        for name, value in self.service.gate.headers.items():
            self.set_header(name, value)

    def check_method(self) -> None:
        """Raise HTTPError for a method that this path does not take."""
        if self.request.method not in METHODS:
            raise HTTPError(405)

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> Future[None]:
        sent = super().finish(chunk)
        self.limit(sent)
        return sent

    def limit(self, sent: Future[None]) -> None:
        """Close the connection where the client does not read what is being sent to it."""
        if not sent.done():
            # The next request waits for that, and its own deadline with it.
            loop = IOLoop.current()
            late = loop.call_later(WRITE_SECONDS, self.http.stream.close)
            sent.add_done_callback(lambda _: loop.remove_timeout(late))

    def on_finish(self) -> None:
        self.service.connections.turn(self.http.stream, busy=False)

    def compute_etag(self) -> str | None:
        """Return nothing: no two pages are alike, and hashing one costs more than sending it."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.add_configured_headers()
        if status_code == 405:
            self.set_header("Allow", ", ".join(METHODS))
        if status_code == 401:
            self.set_header("WWW-Authenticate", CHALLENGE)
        if status_code in (429, 503):
            self.set_header("Retry-After", "1")
        self.finish(f"{responses.get(status_code, 'Error')}\n")

    def log_exception(self, *exception: Any) -> None:
        if not isinstance(exception[1], HTTPError):
            logger.error("Answering %s failed.", ascii(self.request.path), exc_info=exception)


class NotFoundHandler(PlainHandler):
    """Refuse every other path."""

    def check_method(self) -> None:
        raise HTTPError(404)


class HealthHandler(PlainHandler):
    """Say that the process lives."""

    def get(self) -> None:
        self.finish("Django metrics exporter is Healthy.\n")

    head = get


class ReadyHandler(PlainHandler):
    """Say whether a scrape will be answered; no longer when the server is about to end."""

    def get(self) -> None:
        stopping = self.service.activity.stopping
        self.set_header("X-Prometheus-Stopping", str(stopping).lower())
        if stopping:
            self.set_status(503)
            self.finish("Service Unavailable\n")
        else:
            self.finish("Django metrics exporter is Ready.\n")

    head = get
