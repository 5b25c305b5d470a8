"""The request metrics: django-prometheus's nineteen HTTP families, names and labels alike."""

from __future__ import annotations

import logging
import re
import sys
from functools import cache
from typing import Any

from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram

from .. import conf
from .guard import harmless

logger = logging.getLogger("metrics_commands")

METHODS = frozenset(
    ["GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"]
)
INVALID_METHOD = "<invalid method>"
UNNAMED_VIEW = "<unnamed view>"
UNNAMED_TEMPLATE = "<unnamed template>"
SIZE_BUCKETS = (0.0, *(2.0**power for power in range(30)), float("inf"))
# A body is never larger, and no sender may decide a sum without limits.
LARGEST_LENGTH = 2**40
COUNTED = "_metrics_counted"
EXCEPTION_COUNTED = "_metrics_exception_counted"


class RequestMetrics:
    """The families, declared once per process."""

    def __init__(self) -> None:
        self._namespace = conf.resolve_or_default(conf.NAMESPACE)
        latency = conf.resolve_or_default(conf.LATENCY_BUCKETS)
        self._declare_requests()
        self._declare_responses(latency)

    def _declare_requests(self) -> None:
        counter, histogram = self._counter, self._histogram
        self.requests_before = counter(
            "requests_before_middlewares_total", "Requests, before any other middleware ran."
        )
        self.ajax = counter("ajax_requests_total", "Requests made by a page's XMLHttpRequest.")
        self.by_method = counter("requests_total_by_method", "Requests, by method.", ["method"])
        self.by_transport = counter(
            "requests_total_by_transport", "Requests, by http or https.", ["transport"]
        )
        self.by_view = counter(
            "requests_total_by_view_transport_method",
            "Requests that found a view, by view, transport and method.",
            ["view", "transport", "method"],
        )
        self.request_bytes = histogram(
            "requests_body_total_bytes", "Bytes in a request's body.", buckets=SIZE_BUCKETS
        )

    def _declare_responses(self, latency: tuple[float, ...]) -> None:
        counter, histogram = self._counter, self._histogram
        self.responses_before = counter(
            "responses_before_middlewares_total", "Responses, after all other middleware ran."
        )
        self.latency_before = histogram(
            "requests_latency_including_middlewares_seconds",
            "Time from request to response, all middleware included.",
            buckets=latency,
        )
        self.unknown_latency_before = counter(
            "requests_unknown_latency_including_middlewares_total",
            "Responses whose time, all middleware included, is not known.",
        )
        self.latency = histogram(
            "requests_latency_seconds_by_view_method",
            "Time from request to response, by view and method.",
            ["view", "method"],
            buckets=latency,
        )
        self.unknown_latency = counter(
            "requests_unknown_latency_total", "Responses whose time is not known."
        )
        self.by_template = counter(
            "responses_total_by_templatename", "Template responses, by template.", ["templatename"]
        )
        self.by_status = counter("responses_total_by_status", "Responses, by status.", ["status"])
        self.by_status_view = counter(
            "responses_total_by_status_view_method",
            "Responses, by status, view and method.",
            ["status", "view", "method"],
        )
        self.response_bytes = histogram(
            "responses_body_total_bytes",
            "Bytes in a response's body, streams left out.",
            buckets=SIZE_BUCKETS,
        )
        self.by_charset = counter(
            "responses_total_by_charset", "Responses, by charset.", ["charset"]
        )
        self.streaming = counter("responses_streaming_total", "Streaming responses.")
        self.exceptions_by_type = counter(
            "exceptions_total_by_type", "Exceptions while answering, by class.", ["type"]
        )
        self.exceptions_by_view = counter(
            "exceptions_total_by_view", "Exceptions while answering, by view.", ["view"]
        )

    def _counter(self, name: str, documentation: str, labels: list[str] | None = None) -> Counter:
        return Counter(
            f"django_http_{name}", documentation, labels or [], namespace=self._namespace
        )

    def _histogram(
        self,
        name: str,
        documentation: str,
        labels: list[str] | None = None,
        *,
        buckets: tuple[float, ...],
    ) -> Histogram:
        return Histogram(
            f"django_http_{name}",
            documentation,
            labels or [],
            namespace=self._namespace,
            buckets=buckets,
        )


@cache
def request_metrics() -> RequestMetrics:
    """Declare the families at the first call; ValueError where others declared the same names."""
    return RequestMetrics()


@cache
def can_count() -> bool:
    """Declare the families; where that fails, say once why."""
    try:
        request_metrics()
    except Exception as error:
        logger.warning("Requests are not counted: %s", error)
        return False
    return True


@harmless
def record_arrival() -> None:
    """Count a request at the outer middleware."""
    request_metrics().requests_before.inc()


@harmless
def record_departure(seconds: float) -> None:
    """Count a response at the outer middleware, with the time since its arrival."""
    metrics = request_metrics()
    metrics.responses_before.inc()
    metrics.latency_before.observe(seconds)


@harmless
def record_request(request: HttpRequest) -> None:
    """Count a request at the inner middleware, before it has a view."""
    setattr(request, COUNTED, True)
    metrics = request_metrics()
    # Not request.headers, which would be cached before others have changed META.
    if request.META.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest":
        metrics.ajax.inc()
    metrics.by_method.labels(method_of(request)).inc()
    metrics.by_transport.labels(transport_of(request)).inc()
    metrics.request_bytes.observe(content_length_of(request))


def was_counted(request: HttpRequest) -> bool:
    """Tell whether the inner middleware has seen this request."""
    return hasattr(request, COUNTED)


@harmless
def record_response(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    """Count what is known when the inner middleware has its response."""
    metrics = request_metrics()
    method, view, status = method_of(request), view_of(request), status_of(response)
    if request.resolver_match is not None:
        metrics.by_view.labels(view, transport_of(request), method).inc()
    metrics.latency.labels(view, method).observe(seconds)
    metrics.by_status.labels(status).inc()
    metrics.by_status_view.labels(status, view, method).inc()
    if hasattr(response, "render") and hasattr(response, "template_name"):
        metrics.by_template.labels(template_of(response)).inc()
    if response.charset:
        metrics.by_charset.labels(str(response.charset)).inc()
    if response.streaming:
        metrics.streaming.inc()
    elif hasattr(response, "content"):
        metrics.response_bytes.observe(len(response.content))


@harmless
def record_exception(request: HttpRequest, exception: BaseException) -> None:
    """Count a request's first exception, however many hooks see it."""
    # A flag, not the exception: its traceback holds the request, and would be a cycle with it.
    if hasattr(request, EXCEPTION_COUNTED):
        return
    setattr(request, EXCEPTION_COUNTED, True)
    metrics = request_metrics()
    metrics.exceptions_by_type.labels(type(exception).__name__).inc()
    metrics.exceptions_by_view.labels(view_of(request)).inc()


def record_unhandled(sender: object, request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Count an exception that no view raised, such as one of another middleware."""
    exception = sys.exc_info()[1]
    if request is not None and exception is not None:
        record_exception(request, exception)


def watch_unhandled_exceptions() -> None:
    """Listen to Django's signal for exceptions that become a 500."""
    got_request_exception.connect(record_unhandled, dispatch_uid="metrics_commands")


def method_of(request: HttpRequest) -> str:
    """Return the method; a client may invent any, so others than HTTP's nine are one."""
    return request.method if request.method in METHODS else INVALID_METHOD


def transport_of(request: HttpRequest) -> str:
    """Return 'https' or 'http', as Django sees it."""
    return "https" if request.is_secure() else "http"


def view_of(request: HttpRequest) -> str:
    """Return the name of the URL pattern, or of the view where the pattern has none."""
    match = request.resolver_match
    return match.view_name or UNNAMED_VIEW if match else UNNAMED_VIEW


def status_of(response: HttpResponseBase) -> str:
    """Return the status in digits, also where Python 3.10 would print HTTPStatus by name."""
    return str(int(response.status_code))


def template_of(response: Any) -> str:
    """Return the name or names of a response's template; an object would be new each time."""
    name = response.template_name
    return UNNAMED_TEMPLATE if hasattr(name, "render") else str(name)


def content_length_of(request: HttpRequest) -> int:
    """Return the length that the client declared; 0 where it is absent, no number or absurd."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if not isinstance(length, str) or not re.fullmatch(r"[0-9]{1,13}", length):
        return 0
    return int(length) if int(length) <= LARGEST_LENGTH else 0
