"""The dashboard of requests, view by view."""

from __future__ import annotations

from .board import Board, Row, variable
from .bodies import ALL_VIEWS, BODIES, BY_VIEW, THESE, VIEW
from .objectives import ERROR_BUDGET
from .objectives import LATENCY as LATENCY_OBJECTIVE
from .panels import Column, graph, heat_map, stat_panel, table
from .queries import (
    add_up,
    divide,
    mean,
    or_zero,
    quantile,
    quantiles,
    rate,
)
from .recording import ERROR_SHARE, VIEW_QUANTILE

RESPONSES = "django_http_responses_total_by_status_view_method_total"
TIME = "django_http_requests_latency_seconds_by_view_method"
QUERIES = "django_http_view_database_queries"
BY_BOTH = ("view", "method")
ERRORS = 'status=~"5.."'
REFUSALS = 'status=~"4.."'
# Recorded series have no instance.
RECORDED = '{job=~"$job", view=~"$view"}'


def share(status: str, *labels: str) -> str:
    """Return the share of responses that have such a status."""
    part = add_up(rate(RESPONSES, *THESE, status), *labels)
    return divide(part if labels else or_zero(part), add_up(rate(RESPONSES, *THESE), *labels))


NOW = Row(
    "Now",
    [
        stat_panel(
            "Responses",
            add_up(rate(RESPONSES, *THESE)),
            "reqps",
            says="Responses in a second of the views chosen.",
        ),
        stat_panel("Errors", share(ERRORS), "percentunit", says="Share of 5xx.", bad=0.01),
        stat_panel("Refusals", share(REFUSALS), "percentunit", says="Share of 4xx."),
        *(
            stat_panel(
                f"Latency {name}", expression, "s", says="Time in view and inner middleware."
            )
            for name, expression in quantiles(TIME, *THESE).items()
        ),
        stat_panel(
            "Queries",
            mean(QUERIES, *THESE),
            says="Mean of database queries of a request that makes any.",
        ),
        stat_panel(
            "Time in databases",
            divide(
                add_up(rate("django_http_view_database_seconds_total", *THESE)),
                add_up(rate(f"{TIME}_sum", *THESE)),
            ),
            "percentunit",
            says="Share of the views' time that they wait for a database.",
        ),
    ],
)
VIEWS = Row(
    "Views",
    [
        table(
            "Views",
            Column("Responses/s", add_up(rate(RESPONSES, *THESE), *BY_BOTH), "reqps"),
            Column("Errors", share(ERRORS, *BY_BOTH), "percentunit"),
            Column("Refusals", share(REFUSALS, *BY_BOTH), "percentunit"),
            Column("p50", quantile(0.5, TIME, *THESE, by=BY_BOTH), "s"),
            Column("p95", quantile(0.95, TIME, *THESE, by=BY_BOTH), "s"),
            Column("Queries", mean(QUERIES, *THESE, by=BY_BOTH)),
            says="Each view and method now, busiest first.",
        )
    ],
)
TRAFFIC = Row(
    "Traffic",
    [
        graph(
            "Responses by view",
            {"{{view}} {{method}}": add_up(rate(RESPONSES, *THESE), *BY_BOTH)},
            "reqps",
            says="Responses in a second.",
        ),
        graph(
            "Responses by status",
            {"{{status}}": add_up(rate(RESPONSES, *THESE), "status")},
            "reqps",
            says="Responses in a second.",
            stacked=True,
        ),
        graph(
            "Requests by view",
            {
                "{{view}} {{transport}}": add_up(
                    rate("django_http_requests_total_by_view_transport_method_total", *THESE),
                    "view",
                    "transport",
                )
            },
            "reqps",
            says="Requests in a second that found a view; http where the proxy tells no better.",
        ),
        graph(
            "Errors by view",
            {"{{view}}": share(ERRORS, *BY_VIEW)},
            "percentunit",
            says="Share of a view's responses that are 5xx.",
        ),
        graph(
            "Exceptions by view",
            {"{{view}}": add_up(rate("django_http_exceptions_total_by_view_total", VIEW), "view")},
            "ops",
            says="Exceptions in a second, those that became a 404 included.",
        ),
        graph(
            "Cancelled by view",
            {"{{view}}": add_up(rate("django_http_requests_cancelled_total", *THESE), "view")},
            "reqps",
            says="Requests in a second whose client left before the response (ASGI).",
        ),
    ],
)
LATENCY = Row(
    "Latency",
    [
        graph(
            "Latency",
            quantiles(TIME, *THESE),
            "s",
            says="Time in view and the middleware inside.",
        ),
        graph(
            "Latency p95 by view",
            {"{{view}}": quantile(0.95, TIME, *THESE, by=BY_VIEW)},
            "s",
            says="19 of 20 requests took no longer.",
        ),
        heat_map(
            "Latency",
            add_up(rate(f"{TIME}_bucket", *THESE), "le"),
            says="How many requests in a second took how long.",
        ),
    ],
)
DATABASES = Row(
    "Databases",
    [
        graph(
            "Queries p95 by view",
            {"{{view}}": quantile(0.95, QUERIES, *THESE, by=BY_VIEW)},
            says="Database queries of a request that makes any; many of them are an N+1.",
        ),
        graph(
            "Mean queries by view",
            {"{{view}}": mean(QUERIES, *THESE, by=BY_VIEW)},
            says="Database queries of a request that makes any.",
        ),
        graph(
            "Time in databases by view",
            {
                "{{view}}": divide(
                    add_up(rate("django_http_view_database_seconds_total", *THESE), "view"),
                    add_up(rate(f"{TIME}_sum", *THESE), "view"),
                )
            },
            "percentunit",
            says="Share of a view's time that it waits for a database.",
        ),
    ],
)
BUDGET = Row(
    "Objectives (these need the recording rules)",
    [
        graph(
            "Error budget burnt",
            {
                f"{{{{view}}}} ({span})": f"{ERROR_SHARE}{span}{RECORDED}"
                f" / on () group_left () {ERROR_BUDGET}"
                for span in ("1h", "6h")
            },
            says="How many times faster than allowed the error budget is spent; 1 is just allowed.",
        ).span(12),
        graph(
            "Latency p95 against its objective",
            {
                "{{view}}": f"{VIEW_QUANTILE}:p95_rate5m{RECORDED}"
                f" / on () group_left () {LATENCY_OBJECTIVE}"
            },
            "percentunit",
            says="Above 100 % a view is slower than it should be.",
        ).span(12),
    ],
)
BOARD = Board(
    "requests-by-view",
    "Requests by view",
    "How often, how fast and how well each view answers.",
    [NOW, VIEWS, TRAFFIC, LATENCY, DATABASES, BODIES, ALL_VIEWS, BUDGET],
    [
        variable("view", "View", RESPONSES, "view"),
        variable("method", "Method", RESPONSES, "method", VIEW),
    ],
)
