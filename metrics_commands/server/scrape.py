"""Answer the telemetry path: gathered off the event loop, a bounded number at a time."""

from __future__ import annotations

import asyncio
import logging

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from .handlers import WRITE_SECONDS, PlainHandler
from .telemetry import BadQuestionError, Page, Question, TooManyError, choose_seconds

logger = logging.getLogger("metrics_commands")

# What nginx writes into its log of such a request; nobody ever receives it.
CLIENT_LEFT = 499


class ScrapeHandler(PlainHandler):
    """Serve the metrics."""

    async def get(self) -> None:
        if self.http.stream.closed():
            # One of many requests that were sent at once, by a client that has gone.
            self.set_status(CLIENT_LEFT)
            return
        activity = self.service.activity
        if activity.stopping:
            raise HTTPError(503)
        activity.in_flight += 1
        try:
            await self._send(await self._make())
        except asyncio.CancelledError:
            # Only the end of the server cancels; Tornado before 6.6 logs that as an error.
            raise HTTPError(503) from None
        finally:
            activity.in_flight -= 1

    def head(self) -> None:
        """Answer without gathering, so without a length."""
        try:
            self._set_type(self.service.telemetry.describe(self._read_question()))
        except BadQuestionError as error:
            self._refuse(400, str(error))
            return
        self.limit(self.flush())

    def on_finish(self) -> None:
        super().on_finish()
        self.service.activity.requests[self.get_status()] += 1

    def _read_question(self) -> Question:
        headers = self.request.headers
        return Question(
            accept=",".join(headers.get_list("Accept")),
            accept_encoding=",".join(headers.get_list("Accept-Encoding")),
            names=tuple(self.get_query_arguments("name[]")),
            collect=tuple(self.get_query_arguments("collect[]")),
            exclude=tuple(self.get_query_arguments("exclude[]")),
            seconds=choose_seconds(headers.get("X-Prometheus-Scrape-Timeout-Seconds")),
        )

    async def _make(self) -> Page | None:
        """Return the page, or None where the question was refused."""
        try:
            return await self.service.pages.make(self._read_question())
        except BadQuestionError as error:
            self._refuse(400, str(error))
        except TooManyError:
            limit = self.service.most_requests
            self._refuse(503, f"Limit of concurrent requests reached ({limit}), try again later.")
        return None

    async def _send(self, page: Page | None) -> None:
        """Send a page, and wait until the client has it, so that an orderly end waits as well."""
        if page is None:
            return
        self._set_type(page.content_type)
        if page.encoding:
            self.set_header("Content-Encoding", page.encoding)
        self.set_header("Content-Length", len(page.body))
        stream = self.http.stream
        self.service.connections.begin_page(stream, page.body)
        writing = self._write(page.body)
        # Of a client that leaves, the error, its traceback and these frames hold each other, and
        # would hold the page until the next full garbage collection.
        del page
        try:
            await asyncio.wait_for(writing, WRITE_SECONDS)
        except StreamClosedError:
            logger.debug("A client left before it had the whole page.")
        except asyncio.TimeoutError:
            logger.debug("A client did not read the page within %d s.", WRITE_SECONDS)
            self.http.close()
        finally:
            self.service.connections.end_page(stream)

    async def _write(self, body: bytes) -> None:
        # Apart from the headers, since Tornado copies a body that it sends with them.
        headers_sent = self.flush()
        body_sent = self.http.write(body)
        del body
        await headers_sent
        await body_sent
        await self.finish()

    def _set_type(self, content_type: str) -> None:
        self.set_header("Content-Type", content_type)
        self.set_header("Vary", "Accept, Accept-Encoding")

    def _refuse(self, status: int, reason: str) -> None:
        self.set_status(status)
        if status == 503:
            self.set_header("Retry-After", "1")
        self.finish(f"{reason}\n")
