"""The families of requests and responses: django-prometheus's nineteen, and what users ask for."""

from __future__ import annotations

from functools import cache

from .. import worker_settings
from .families import Counter, Family, Gauge, Histogram, prefix

QUERY_BOUNDS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, float("inf"))
VIEW_METHOD = ("view", "method")


# Labels of the user's own on the families by view; a middleware's class names them.
extra_labels: list[str] = []


class RequestFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        self._prefix = f"{prefix()}django_http_"
        self._latency_bounds = worker_settings.LATENCY_BUCKETS.resolve_or_default()
        self._bytes_bounds = worker_settings.BYTES_BUCKETS.resolve_or_default()
        self._declare_before()
        self._declare_requests()
        self._declare_responses()
        self._declare_exceptions()
        self._declare_views()
        self.unlabelled: list[Family] = [
            each for each in vars(self).values() if isinstance(each, Family) and not each.labels
        ]

    def _declare_before(self) -> None:
        self.requests_before = self._counter(
            "requests_before_middlewares", "Requests, before any other middleware ran."
        )
        self.responses_before = self._counter(
            "responses_before_middlewares", "Responses, after all other middleware ran."
        )
        self.latency_before = self._histogram(
            "requests_latency_including_middlewares_seconds",
            "Time from request to response, all middleware included.",
            bounds=self._latency_bounds,
        )
        self.unknown_latency_before = self._counter(
            "requests_unknown_latency_including_middlewares",
            "Responses whose time, all middleware included, is not known.",
        )
        self.in_flight = Gauge(
            f"{self._prefix}requests_in_flight", "Requests that are being answered."
        )
        self.queue = self._histogram(
            "request_queue_seconds",
            "Time from a proxy's X-Request-Start to the first middleware.",
            bounds=self._latency_bounds,
        )

    def _declare_requests(self) -> None:
        self.ajax = self._counter("ajax_requests", "Requests made by a page's XMLHttpRequest.")
        self.by_method = self._counter(
            "requests_total_by_method", "Requests, by method.", ["method"]
        )
        self.by_transport = self._counter(
            "requests_total_by_transport", "Requests, by http or https.", ["transport"]
        )
        self.by_view = self._counter(
            "requests_total_by_view_transport_method",
            "Requests that found a view, by view, transport and method.",
            ["view", "transport", "method", *extra_labels],
        )
        self.request_bytes = self._histogram(
            "requests_body_total_bytes", "Bytes in a request's body.", bounds=self._bytes_bounds
        )

    def _declare_responses(self) -> None:
        self.latency = self._histogram(
            "requests_latency_seconds_by_view_method",
            "Time from request to response, by view and method.",
            (*VIEW_METHOD, *extra_labels),
            bounds=self._latency_bounds,
        )
        self.unknown_latency = self._counter(
            "requests_unknown_latency", "Responses whose time is not known."
        )
        self.by_template = self._counter(
            "responses_total_by_templatename", "Template responses, by template.", ["templatename"]
        )
        self.by_status = self._counter(
            "responses_total_by_status", "Responses, by status.", ["status"]
        )
        self.by_status_view = self._counter(
            "responses_total_by_status_view_method",
            "Responses, by status, view and method.",
            ["status", "view", "method", *extra_labels],
        )
        self.response_bytes = self._histogram(
            "responses_body_total_bytes",
            "Bytes in a response's body, streams left out.",
            bounds=self._bytes_bounds,
        )
        self.by_charset = self._counter(
            "responses_total_by_charset", "Responses, by charset.", ["charset"]
        )
        self.streaming = self._counter("responses_streaming", "Streaming responses.")

    def _declare_exceptions(self) -> None:
        self.exceptions_by_type = self._counter(
            "exceptions_total_by_type", "Exceptions while answering, by class.", ["type"]
        )
        self.exceptions_by_view = self._counter(
            "exceptions_total_by_view", "Exceptions while answering, by view.", ["view"]
        )
        self.cancelled = self._counter(
            "requests_cancelled", "Requests whose client left before the response.", VIEW_METHOD
        )

    def _declare_views(self) -> None:
        self.view_request_bytes = self._counter(
            "view_request_bytes", "Bytes in the bodies of requests, by view.", VIEW_METHOD
        )
        self.view_response_bytes = self._counter(
            "view_response_bytes", "Bytes in the bodies of responses, by view.", VIEW_METHOD
        )
        self.view_queries = self._histogram(
            "view_database_queries",
            "Database queries of a request that made any, by view.",
            VIEW_METHOD,
            bounds=QUERY_BOUNDS,
        )
        self.view_database_seconds = self._counter(
            "view_database_seconds", "Time that requests spent in the database.", VIEW_METHOD
        )
        self.stream_seconds = self._histogram(
            "view_streaming_duration_seconds",
            "Time from request to the end of a streaming response, by view.",
            VIEW_METHOD,
            bounds=self._latency_bounds,
        )
        self.stream_bytes = self._counter(
            "view_streaming_bytes", "Bytes in streaming responses, by view.", VIEW_METHOD
        )

    def _counter(
        self, name: str, documentation: str, labels: tuple[str, ...] | list[str] = ()
    ) -> Counter:
        return Counter(f"{self._prefix}{name}", documentation, labels)

    def _histogram(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...] = (),
        *,
        bounds: tuple[float, ...],
    ) -> Histogram:
        return Histogram(f"{self._prefix}{name}", documentation, labels, bounds=bounds)


@cache
def request_families() -> RequestFamilies:
    """Return the families, declaring them at the first call."""
    return RequestFamilies()
