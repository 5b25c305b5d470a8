"""Follow a streaming response to its end: how long it took, and how many bytes it had."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from time import perf_counter
from typing import Any

from django.http import FileResponse
from django.http.response import HttpResponseBase

from .guard import report_loss
from .request_families import request_families


class Stream:
    """One response while it is sent; ``end`` is called when it is closed, however that comes."""

    def __init__(self, view: str, method: str, start: float) -> None:
        self._labels = (view, method)
        self._start = start
        self._ended = False
        self.bytes = 0

    def end(self) -> None:
        """Record duration and bytes, once."""
        if self._ended:
            return
        self._ended = True
        families = request_families()
        families.stream_seconds.observe(perf_counter() - self._start, *self._labels)
        families.stream_bytes.inc(*self._labels, amount=self.bytes)

    def count(self, content: Iterator[bytes]) -> Iterator[bytes]:
        """Pass the parts on, counting them."""
        for part in content:
            self.bytes += len(part)
            yield part

    async def count_async(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass the parts of an async stream on, counting them."""
        async for part in content:
            self.bytes += len(part)
            yield part


def watch_stream(response: HttpResponseBase, view: str, method: str, start: float) -> None:
    """Record a stream when it is closed; ``start`` is when its request came."""
    try:
        stream = Stream(view, method, start)
        follow(stream, response, sends_content=method != "HEAD")
        # What Django closes with the response, and after all other middleware has wrapped it.
        vars(response)["_resource_closers"].append(stream.end)
    except Exception:
        report_loss("streams")


def follow(stream: Stream, response: Any, *, sends_content: bool) -> None:
    """Count a stream's bytes; a file is left alone, since a server may send it by itself."""
    if isinstance(response, FileResponse):
        length = response.headers.get("Content-Length", "")
        stream.bytes = int(length) if length.isdecimal() and sends_content else 0
    elif response.is_async:
        response.streaming_content = stream.count_async(response.streaming_content)
    else:
        response.streaming_content = stream.count(response.streaming_content)
