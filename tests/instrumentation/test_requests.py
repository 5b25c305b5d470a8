"""What a request adds to the nineteen HTTP families, name by name and label by label."""

from __future__ import annotations

import gc
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest
from django.test import Client, RequestFactory
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from metrics_commands.instrumentation import guard, requests
from metrics_commands.instrumentation.requests import LARGEST_LENGTH, content_length_of

from . import urls
from .counts import at_after, at_before, count, exception, template, value, visit

# Family, type, and labels: what public dashboards of django-prometheus ask for.
FAMILIES: dict[str, tuple[str, set[str]]] = {
    "django_http_requests_before_middlewares_total": ("counter", set()),
    "django_http_responses_before_middlewares_total": ("counter", set()),
    "django_http_requests_latency_including_middlewares_seconds": ("histogram", set()),
    "django_http_requests_unknown_latency_including_middlewares_total": ("counter", set()),
    "django_http_requests_latency_seconds_by_view_method": ("histogram", {"view", "method"}),
    "django_http_requests_unknown_latency_total": ("counter", set()),
    "django_http_ajax_requests_total": ("counter", set()),
    "django_http_requests_total_by_method_total": ("counter", {"method"}),
    "django_http_requests_total_by_transport_total": ("counter", {"transport"}),
    "django_http_requests_total_by_view_transport_method_total": (
        "counter",
        {"view", "transport", "method"},
    ),
    "django_http_requests_body_total_bytes": ("histogram", set()),
    "django_http_responses_total_by_templatename_total": ("counter", {"templatename"}),
    "django_http_responses_total_by_status_total": ("counter", {"status"}),
    "django_http_responses_total_by_status_view_method_total": (
        "counter",
        {"status", "view", "method"},
    ),
    "django_http_responses_body_total_bytes": ("histogram", set()),
    "django_http_responses_total_by_charset_total": ("counter", {"charset"}),
    "django_http_responses_streaming_total": ("counter", set()),
    "django_http_exceptions_total_by_type_total": ("counter", {"type"}),
    "django_http_exceptions_total_by_view_total": ("counter", {"view"}),
}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"]
LATENCIES = {0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 25, 50, 75}
BROKEN = exception("RuntimeError", "broken")


@pytest.fixture(autouse=True)
def _site(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = urls.HERE
    settings.MIDDLEWARE = [urls.BEFORE, urls.AFTER]


def test_names_types_and_labels_are_those_that_dashboards_ask_for() -> None:
    """Dashboards made for django-prometheus find each of its families, as it was."""
    visit("/template")
    visit("/broken")
    found: dict[str, tuple[str, set[str]]] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            name = sample.name.removesuffix("_count")
            if name in FAMILIES:
                found[name] = (family.type, set(sample.labels))
    assert found == FAMILIES


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/plain", at_after("plain")),
        ("/unnamed", at_after("tests.instrumentation.urls.plain")),
        ("/only_get", at_after("only_get")),
        ("/away", at_after("away", status=302)),
        ("/latin", at_after("latin", charset="iso-8859-1")),
        ("/created", at_after("created", status=201)),
        ("/template", at_after("template") | template("shop/about.html")),
        (
            "/templates",
            at_after("templates") | template("['shop/missing.html', 'shop/about.html']"),
        ),
        ("/inline_template", at_after("inline_template") | template("<unnamed template>")),
        ("/nowhere", at_after("<unnamed view>", status=404, resolved=False)),
        ("/missing", at_after("missing", status=404) | exception("Http404", "missing")),
        (
            "/forbidden",
            at_after("forbidden", status=403) | exception("PermissionDenied", "forbidden"),
        ),
        ("/broken", at_after("broken", status=500) | BROKEN),
        (
            "/broken_template",
            at_after("broken_template", status=500)
            | exception("TemplateDoesNotExist", "broken_template"),
        ),
        ("/async_plain", at_after("async_plain")),
        (
            "/async_broken",
            at_after("async_broken", status=500) | exception("RuntimeError", "async_broken"),
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_request_adds_exactly_this(
    path: str, expected: dict[str, float], asynchronous: bool
) -> None:
    """Each view, outcome and exception is counted once, in the right series and no other."""
    assert count(lambda: visit(path, asynchronous=asynchronous)) == at_before() | expected


@pytest.mark.parametrize("path", ["stream", "download"])
def test_a_stream_is_counted_without_its_size(path: str) -> None:
    """A streaming response is counted as one, and its body is left to the client."""
    added: list[bytes] = []

    def download() -> None:
        response: Any = Client().get(f"/{path}")
        added.append(response.getvalue())

    assert count(download) == at_before() | at_after(path, streamed=True)
    assert added == [b"bitbybit" if path == "stream" else b"file"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("method", [*METHODS, "FOOBAR", "PROPFIND"])
def test_no_client_can_invent_a_label(method: str, asynchronous: bool) -> None:
    """HTTP's nine methods are labels, everything else is one, in every family."""
    expected = method if method in METHODS else "<invalid method>"
    added = count(lambda: visit("/plain", method=method, asynchronous=asynchronous))
    assert added == at_before() | at_after("plain", method=expected)


def test_a_method_that_the_view_refuses() -> None:
    """A 405 is counted under its view and the method that was tried."""
    added = count(lambda: visit("/only_get", method="POST"))
    assert added == at_before() | at_after("only_get", method="POST", status=405)


def test_a_post_without_csrf_token(settings: LazySettings) -> None:
    """A refusal by CsrfViewMiddleware is counted under the view that it protected."""
    settings.MIDDLEWARE = [urls.BEFORE, urls.CSRF, urls.AFTER]
    client = Client(enforce_csrf_checks=True)
    added = count(lambda: client.post("/protected"))
    assert added == at_before() | at_after("protected", method="POST", status=403)


def test_https_and_ajax() -> None:
    """Transport and XMLHttpRequest are taken from the request."""
    headers = {"HTTP_X_REQUESTED_WITH": "XMLHttpRequest"}
    added = count(lambda: Client().get("/plain", secure=True, **headers))  # type: ignore[arg-type]
    expected = at_before() | at_after("plain", transport="https") | {"ajax_requests_total": 1}
    assert added == expected
    other = count(lambda: visit("/plain", HTTP_X_REQUESTED_WITH="fetch"))
    assert other == at_before() | at_after("plain")


def test_sizes_fall_into_buckets_of_powers_of_two() -> None:
    """A body of 100 bytes sent and one of 5 received move the buckets from 128 and 8 on."""
    bounds = {0.0, *(2.0**power for power in range(30)), math.inf}

    def read(name: str) -> dict[float, float]:
        family = next(each for each in REGISTRY.collect() if each.name == name)
        return {float(s.labels["le"]): s.value for s in family.samples if "le" in s.labels}

    names = "django_http_requests_body_total_bytes", "django_http_responses_body_total_bytes"
    visit("/plain")
    before = [read(name) for name in names]
    Client().post("/plain", "x" * 100, content_type="text/plain")
    for name, old, least in zip(names, before, (128, 8), strict=True):
        new = read(name)
        assert set(new) == bounds
        assert {bound for bound in bounds if new[bound] == old[bound] + 1} == {
            bound for bound in bounds if bound >= least
        }


def test_latencies_are_seconds_in_the_usual_buckets() -> None:
    """Both latencies have django-prometheus's bounds, and the outer one contains the inner."""
    outer, inner = (
        "requests_latency_including_middlewares_seconds",
        "requests_latency_seconds_by_view_method",
    )
    labels = {"view": "plain", "method": "GET"}
    before = value(f"{outer}_sum"), value(f"{inner}_sum", **labels)
    visit("/plain")
    spent = value(f"{outer}_sum") - before[0], value(f"{inner}_sum", **labels) - before[1]
    assert 0 < spent[1] < spent[0] < 30
    for family in REGISTRY.collect():
        if family.name in {f"django_http_{outer}", f"django_http_{inner}"}:
            bounds = {float(s.labels["le"]) for s in family.samples if "le" in s.labels}
            assert bounds == LATENCIES | {math.inf}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("7", 7),
        ("", 0),
        (None, 0),
        ("abc", 0),
        ("-5", 0),
        ("٣", 0),
        ("1_000", 0),
        ("5, 5", 0),
        (str(10**30), 0),
        ("9" * 5000, 0),
        (str(2**40), 2**40),
        (str(2**40 + 1), 0),
    ],
    ids=lambda each: str(each)[:20],
)
def test_content_length_is_only_a_claim(declared: str | None, expected: int) -> None:
    """A wrong or absurd Content-Length neither fails the request nor moves the sum."""
    before = value("requests_body_total_bytes_sum")
    headers: dict[str, Any] = {} if declared is None else {"CONTENT_LENGTH": declared}
    assert count(lambda: visit("/plain", **headers)) == at_before() | at_after("plain")
    assert value("requests_body_total_bytes_sum") - before == expected


@settings(max_examples=60, deadline=None)
@example("7\n")
@given(st.one_of(st.text(max_size=20), st.integers().map(str), st.none()))
def test_any_content_length_is_a_bounded_number(declared: str | None) -> None:
    """Whatever a header says, what is observed is a number that a body can have."""
    request = HttpRequest()
    request.META["CONTENT_LENGTH"] = declared
    length = content_length_of(request)
    assert 0 <= length <= LARGEST_LENGTH
    assert length == 0 or str(length) == (declared or "").lstrip("0")


def test_a_failed_request_is_freed_at_once(settings: LazySettings) -> None:
    """Requests that fail do not pile up until the garbage collector comes by."""
    settings.TEMPLATES = []  # Django's search for a 404.html that is missing keeps it as well.
    handler = WSGIHandler()
    request = handler.request_class(RequestFactory().get("/missing").environ)
    alive = weakref.ref(request)
    logging.disable()  # So would a log record.
    gc.disable()
    try:
        assert handler.get_response(request).status_code == 404
        del request
        assert alive() is None
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("ours", [[urls.AFTER], [urls.BEFORE, urls.AFTER]])
def test_headers_that_others_add_reach_the_view(ours: list[str], settings: LazySettings) -> None:
    """A middleware behind ours may still add a header; ours has not frozen them."""
    settings.MIDDLEWARE = [*ours, f"{urls.HERE}.set_header"]
    assert Client().get("/early_header").content == b"fresh"


@pytest.mark.parametrize(
    "record",
    [requests.record_cancellation, lambda request: requests.record_exception(request, OSError())],
)
def test_a_failure_to_count_leaves_what_goes_on_alone(
    record: Callable[[HttpRequest], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Instead of its own cancellation or exception, no request has one of the metrics."""
    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(requests, "request_families", None)
    record(RequestFactory().get("/"))
    assert "A number was lost" in caplog.text
