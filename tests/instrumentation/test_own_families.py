"""What django-prometheus has not: in flight, queues, streams, views' bytes, labels of one's own."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from metrics_commands.instrumentation import queue, requests
from metrics_commands.instrumentation.queue import parse_start
from metrics_commands.instrumentation.store import current_store
from metrics_commands.middleware import PrometheusBeforeMiddleware

from . import urls
from .counts import value, visit


@pytest.fixture(autouse=True)
def _site(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = urls.HERE
    settings.MIDDLEWARE = [urls.BEFORE, urls.AFTER]


def test_requests_in_flight_go_up_and_down() -> None:
    """A request counts as in flight from the first middleware on until its response."""
    seen: list[float] = []

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(value("requests_in_flight"))
        return HttpResponse()

    before = value("requests_in_flight")
    PrometheusBeforeMiddleware(answer)(RequestFactory().get("/"))
    assert seen == [before + 1]
    assert value("requests_in_flight") == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_request_that_ends_its_process_is_no_longer_in_flight(
    error: type[BaseException],
) -> None:
    """What is no Exception passes as it is, and leaves no request behind."""

    def answer(request: HttpRequest) -> HttpResponse:
        raise error

    before = value("requests_in_flight")
    with pytest.raises(error):
        PrometheusBeforeMiddleware(answer)(RequestFactory().get("/"))
    assert value("requests_in_flight") == before


def test_a_cancelled_request_is_counted_and_gone() -> None:
    """A client that hangs up is counted by view, and not in flight any more."""
    labels = {"view": "endless", "method": "GET"}
    before = value("requests_cancelled_total", **labels)
    flying = value("requests_in_flight")

    async def go() -> None:
        entered = asyncio.Event()
        urls.view_entered.append(entered)
        task = asyncio.create_task(AsyncClient().get("/endless"))
        await entered.wait()
        assert value("requests_in_flight") == flying + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert value("requests_cancelled_total", **labels) == before + 1
    assert value("requests_in_flight") == flying


def test_bytes_are_counted_by_view() -> None:
    """Both bodies of a request are added up under its view and method."""
    names = ("view_request_bytes_total", "view_response_bytes_total")
    labels = {"view": "plain", "method": "POST"}
    before = [value(name, **labels) for name in names]
    Client().post("/plain", data=b"x" * 1000, content_type="text/plain")
    after = [value(name, **labels) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1000, len(b"plain")]


@pytest.mark.parametrize(("path", "size"), [("stream", 8), ("download", 4)])
def test_a_stream_is_followed_to_its_end(path: str, size: int) -> None:
    """Duration and bytes of a streaming response are known when it is closed, and not before."""
    labels = {"view": path, "method": "GET"}
    seconds, sizes = "view_streaming_duration_seconds_count", "view_streaming_bytes_total"
    before = value(seconds, **labels), value(sizes, **labels)
    response: Any = Client().get(f"/{path}")
    assert (value(seconds, **labels), value(sizes, **labels)) == before
    # The test client closes what it has read to the end.
    assert len(response.getvalue()) == size
    assert value(seconds, **labels) == before[0] + 1
    assert value(sizes, **labels) == before[1] + size


def test_excluded_views_are_not_counted(settings: LazySettings) -> None:
    """A view that a pattern names is in no family by view, and still in those of all requests."""
    settings.PROMETHEUS_EXCLUDE_VIEWS = ["pla?n*"]
    requests.is_excluded.cache_clear()
    current_store().rows.clear()
    try:
        name, labels = "responses_total_by_status_total", {"status": "200"}
        before = value(name, **labels), value("requests_before_middlewares_total")
        assert visit("/plain") == 200
        after = value(name, **labels), value("requests_before_middlewares_total")
        assert after == (before[0], before[1] + 1)
        assert visit("/created") == 201
    finally:
        requests.is_excluded.cache_clear()
        current_store().rows.clear()


NOW = 1_790_000_000.25


@pytest.mark.parametrize(
    ("written", "parsed"),
    [
        ("t=1790000000.250", NOW),
        ("1790000000250", NOW),
        ("t=1790000000250000", NOW),
        (" t = 1790000000.250 ", NOW),
        ("1790000000", 1_790_000_000.0),
        ("", None),
        ("t=", None),
        ("-1790000000", None),
        ("t=1e12", None),
        ("12345", None),
        ("17900000000000000000", None),
        ("\u0661\u0667\u0669\u0660\u0660\u0660\u0660\u0660\u0660\u0660", None),
    ],
)
def test_the_three_forms_that_proxies_write(written: str, parsed: float | None) -> None:
    """Seconds, milliseconds and microseconds are told apart; anything else is no time."""
    assert parse_start(written) == parsed


@given(st.text(max_size=40))
def test_any_header_is_read_without_an_exception(written: str) -> None:
    """Whatever stands in the header, it is a time or nothing."""
    found = parse_start(written)
    assert found is None or 1e9 <= found < 1e10


@pytest.mark.parametrize(
    ("trusted", "ago", "counted"), [(True, 1.5, 1), (True, -5, 0), (True, 900, 0), (False, 1.5, 0)]
)
def test_queue_time_is_counted_where_a_proxy_is_trusted(
    settings: LazySettings, trusted: bool, ago: float, counted: int
) -> None:
    """Only a trusted header counts, and only a time from 0 to 600 seconds ago."""
    settings.PROMETHEUS_TRUST_REQUEST_START = trusted
    count, total = value("request_queue_seconds_count"), value("request_queue_seconds_sum")
    visit("/plain", HTTP_X_REQUEST_START=f"t={time.time() - ago:.3f}")
    assert value("request_queue_seconds_count") - count == counted
    if counted:
        assert 1.4 < value("request_queue_seconds_sum") - total < 10


def test_an_absent_header_is_no_wait(settings: LazySettings) -> None:
    """A request that came past the proxy has no queue time, and no error."""
    settings.PROMETHEUS_TRUST_REQUEST_START = True
    before = value("request_queue_seconds_count")
    assert queue.trusts_request_start()
    assert visit("/plain") == 200
    assert value("request_queue_seconds_count") == before


def test_a_file_that_is_not_sent_has_no_bytes() -> None:
    """HEAD of a download ends without its content, and counts as that."""
    labels = {"view": "download", "method": "HEAD"}
    before = value("view_streaming_bytes_total", **labels)
    response: Any = Client().head("/download")
    assert response.getvalue() in (b"", b"file")
    assert value("view_streaming_duration_seconds_count", **labels) >= 1
    assert value("view_streaming_bytes_total", **labels) == before


@pytest.mark.parametrize("debug", [True, False])
def test_debug_changes_no_count(settings: LazySettings, debug: bool) -> None:
    """A site in development counts as in production, failures included."""
    settings.DEBUG = debug
    labels = {"status": "500", "view": "broken", "method": "GET"}
    before = value("responses_total_by_status_view_method_total", **labels)
    assert visit("/broken") == 500
    assert value("responses_total_by_status_view_method_total", **labels) == before + 1
