"""Rows of the dashboard of requests: bodies, streams, and what has no view."""

from __future__ import annotations

from .board import Row
from .panels import Column, graph, table
from .queries import add_up, increase, quantile, quantiles, rate, top

STREAM = "django_http_view_streaming_duration_seconds"
VIEW = 'view=~"$view"'
THESE = (VIEW, 'method=~"$method"')
BY_VIEW = ("view",)
BODIES = Row(
    "Bodies and streams",
    [
        graph(
            "Received by view",
            {"{{view}}": add_up(rate("django_http_view_request_bytes_total", *THESE), "view")},
            "Bps",
            says="Bytes in a second in the bodies of requests.",
        ),
        graph(
            "Sent by view",
            {
                "{{view}}": add_up(rate("django_http_view_response_bytes_total", *THESE), "view"),
                "{{view}} (streams)": add_up(
                    rate("django_http_view_streaming_bytes_total", *THESE), "view"
                ),
            },
            "Bps",
            says="Bytes in a second in the bodies of responses.",
        ),
        graph(
            "Streams p95 by view",
            {"{{view}}": quantile(0.95, STREAM, *THESE, by=BY_VIEW)},
            "s",
            says="Time from a request to the end of its stream.",
        ),
        graph(
            "Bodies of requests",
            quantiles("django_http_requests_body_total_bytes"),
            "bytes",
            says="Declared length of the bodies of requests, of all views.",
        ),
        graph(
            "Bodies of responses",
            quantiles("django_http_responses_body_total_bytes"),
            "bytes",
            says="Length of the bodies of responses, of all views, streams left out.",
        ),
        graph(
            "Streams",
            {"streams": add_up(rate("django_http_responses_streaming_total"))},
            "reqps",
            says="Streaming responses in a second, of all views.",
        ),
    ],
)
ALL_VIEWS = Row(
    "What has no view",
    [
        graph(
            "Before Django",
            quantiles("django_http_request_queue_seconds"),
            "s",
            says="Time from the proxy to Django: needs X-Request-Start, and "
            "PROMETHEUS_TRUST_REQUEST_START. It grows when workers are too few.",
        ),
        graph(
            "Methods and transports",
            {
                "{{method}}": add_up(rate("django_http_requests_total_by_method_total"), "method"),
                "{{transport}}": add_up(
                    rate("django_http_requests_total_by_transport_total"), "transport"
                ),
                "XMLHttpRequest": add_up(rate("django_http_ajax_requests_total")),
            },
            "reqps",
            says="Requests in a second, of all views.",
        ),
        table(
            "Templates",
            Column(
                "Responses",
                top(
                    20,
                    add_up(
                        increase("django_http_responses_total_by_templatename_total"),
                        "templatename",
                    ),
                ),
            ),
            says="Template responses in the time shown.",
        ).span(8),
    ],
)
