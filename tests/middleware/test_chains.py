"""The two middlewares in every chain that a project may build around them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient

from metrics_commands.instrumentation import guard
from metrics_commands.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware

from ..instrumentation import urls
from ..instrumentation.counts import at_after, at_before, count, exception, visit, visit_async

BOTH = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
BEFORE, AFTER, HERE = urls.BEFORE, urls.AFTER, urls.HERE
UNNAMED = "<unnamed view>"


@BOTH
@pytest.mark.parametrize(
    ("chain", "path", "expected"),
    [
        ([BEFORE], "/plain", at_before() | at_after("plain")),
        ([AFTER], "/plain", at_after("plain")),
        ([AFTER, BEFORE], "/plain", at_before() | at_after("plain")),
        ([BEFORE, f"{HERE}.sync_only", AFTER], "/plain", at_before() | at_after("plain")),
        (
            [BEFORE, f"{HERE}.closed", AFTER],
            "/plain",
            at_before() | at_after(UNNAMED, status=503, resolved=False),
        ),
        (
            [BEFORE, AFTER, f"{HERE}.closed"],
            "/plain",
            at_before() | at_after(UNNAMED, status=503, resolved=False),
        ),
        (
            [BEFORE, f"{HERE}.fails_on_request", AFTER],
            "/plain",
            at_before()
            | at_after(UNNAMED, status=500, resolved=False)
            | exception("LookupError", UNNAMED),
        ),
        (
            [BEFORE, f"{HERE}.fails_on_response", AFTER],
            "/plain",
            at_before() | at_after("plain") | exception("LookupError", "plain"),
        ),
        (
            [BEFORE, AFTER, f"{HERE}.fails_on_request"],
            "/plain",
            at_before()
            | at_after(UNNAMED, status=500, resolved=False)
            | exception("LookupError", UNNAMED),
        ),
        (
            [BEFORE, AFTER, f"{HERE}.fails_on_response"],
            "/plain",
            at_before() | at_after("plain", status=500) | exception("LookupError", "plain"),
        ),
        (
            [BEFORE, f"{HERE}.Excuses", AFTER],
            "/broken",
            at_before() | at_after("broken", status=502) | exception("RuntimeError", "broken"),
        ),
        (
            [BEFORE, f"{HERE}.fails_on_response", AFTER],
            "/missing",
            at_before() | at_after("missing", status=404) | exception("Http404", "missing"),
        ),
    ],
    ids=[
        "only the outer",
        "only the inner",
        "swapped",
        "around a sync one",
        "short-circuited between",
        "short-circuited behind",
        "failing between, before the view",
        "failing between, after the view",
        "failing behind, before the view",
        "failing behind, after the view",
        "exception answered by another",
        "two exceptions in one request",
    ],
)
def test_each_chain_counts_what_passes_it(
    chain: list[str],
    path: str,
    expected: dict[str, float],
    asynchronous: bool,
    settings: LazySettings,
) -> None:
    """Wherever others stand, answer or fail, ours count once what reaches them."""
    settings.MIDDLEWARE = chain
    assert count(lambda: visit(path, asynchronous=asynchronous)) == expected


@pytest.mark.parametrize("kind", [PrometheusBeforeMiddleware, PrometheusAfterMiddleware])
def test_a_middleware_is_of_the_kind_of_its_chain(kind: Any) -> None:
    """An async chain stays async through ours, a sync one sync."""

    async def answer_async(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert iscoroutinefunction(kind(answer_async))
    assert not iscoroutinefunction(kind(answer))


def test_async_requests_never_leave_the_event_loop(settings: LazySettings) -> None:
    """View and both middlewares of an async request run in the event loop's own thread."""
    settings.MIDDLEWARE = [f"{HERE}.RecordingBefore", f"{HERE}.RecordingAfter"]
    urls.threads.clear()

    async def go() -> int:
        assert await visit_async("/async_plain") == 200
        return threading.get_ident()

    assert asyncio.run(go()) == urls.threads[0]
    assert len(urls.threads) == 5
    assert len(set(urls.threads)) == 1


def test_concurrent_async_requests_are_all_counted(settings: LazySettings) -> None:
    """Requests that overlap on one event loop do not disturb each other."""
    settings.MIDDLEWARE = [BEFORE, AFTER]

    async def go() -> None:
        await asyncio.gather(*(visit_async("/async_plain") for _ in range(20)))

    once = at_before() | at_after("async_plain")
    assert count(lambda: asyncio.run(go())) == {key: 20 * each for key, each in once.items()}


def test_a_cancelled_request_has_come_and_never_gone(
    settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that hangs up leaves a request without response, and no error."""
    settings.MIDDLEWARE = [BEFORE, AFTER]

    async def go() -> None:
        entered = asyncio.Event()
        urls.view_entered.append(entered)
        task = asyncio.create_task(AsyncClient().get("/endless"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert count(lambda: asyncio.run(go())) == {
        "requests_before_middlewares_total": 1,
        'requests_total_by_method_total{method="GET"}': 1,
        'requests_total_by_transport_total{transport="http"}': 1,
        "requests_body_total_bytes_count": 1,
    }
    assert not caplog.records
    assert count(lambda: visit("/plain")) == at_before() | at_after("plain")


def test_a_failure_to_count_is_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losing numbers neither raises nor fills the log."""
    monkeypatch.setattr(guard, "_reported", set())
    for _ in range(3):
        try:
            raise OSError("no numbers today")
        except OSError:
            guard.report_loss("hours")
    assert [each.name for each in caplog.records] == ["metrics_commands"]
    assert "no numbers today" in caplog.text


@BOTH
def test_a_request_can_still_be_copied(asynchronous: bool, settings: LazySettings) -> None:
    """A middleware that copies or pickles requests works as it did without us."""
    settings.MIDDLEWARE = [BEFORE, f"{HERE}.copies", AFTER]
    expected = at_before() | at_after("plain")
    assert count(lambda: visit("/plain", asynchronous=asynchronous)) == expected
