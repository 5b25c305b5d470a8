"""The dashboard to begin with: is it up, is it fast, does it fail, and where to look next."""

from __future__ import annotations

from .board import Board, Row
from .panels import graph, stat_panel
from .queries import add_up, divide, largest, or_zero, quantile, quantiles, rate, select, top
from .worker_rows import by_role, processors, workers

RESPONSES = "django_http_responses_total_by_status_total"
BY_VIEW = "django_http_responses_total_by_status_view_method_total"
WHOLE_TIME = "django_http_requests_latency_including_middlewares_seconds"
VIEW_TIME = "django_http_requests_latency_seconds_by_view_method"
ERRORS = 'status=~"5.."'

NOW = Row(
    "Now",
    [
        stat_panel(
            "Requests",
            add_up(rate("django_http_requests_before_middlewares_total")),
            "reqps",
            says="Requests in a second, all views and all workers.",
        ),
        stat_panel(
            "Errors",
            divide(or_zero(add_up(rate(RESPONSES, ERRORS))), add_up(rate(RESPONSES))),
            "percentunit",
            says="Share of responses with a status of 500 and above.",
            bad=0.01,
        ),
        stat_panel(
            "Latency p95",
            quantile(0.95, WHOLE_TIME),
            "s",
            says="19 of 20 requests are answered within this time, all middleware included.",
            bad=1,
        ),
        stat_panel(
            "In flight",
            add_up(select("django_http_requests_in_flight")),
            says="Requests that are being answered.",
        ),
        stat_panel(
            "Web workers",
            add_up(select("django_workers", 'role="web"')),
            says="Processes that answer requests, and live.",
        ),
        stat_panel(
            "Databases down",
            add_up(f"1 - {select('django_database_up')}"),
            says="Databases that do not answer the exporter.",
            bad=1,
        ),
        stat_panel(
            "Migrations to apply",
            add_up(largest(select("django_migrations_unapplied_total"), "connection")),
            says="Migrations that a database has yet to see.",
            bad=1,
        ),
        stat_panel(
            "Collectors failing",
            add_up(f"1 - {select('django_exporter_collector_success')}"),
            says="Parts of the exporter that have no numbers now: see Workers and exporter.",
            bad=1,
        ),
    ],
)
REQUESTS = Row(
    "Requests",
    [
        graph(
            "Responses by status",
            {
                "{{class}}": add_up(
                    f'label_replace({rate(RESPONSES)}, "class", "${{1}}xx", "status", "(.).*")',
                    "class",
                )
            },
            "reqps",
            says="Responses in a second, by the first digit of their status.",
            stacked=True,
        ),
        graph(
            "Latency",
            quantiles(WHOLE_TIME),
            "s",
            says="Time from request to response, all middleware included.",
        ),
        graph(
            "Exceptions",
            {"{{type}}": add_up(rate("django_http_exceptions_total_by_type_total"), "type")},
            "ops",
            says="Exceptions in a second while answering, by class.",
        ),
        graph(
            "Busiest views",
            {"{{view}}": top(10, add_up(rate(BY_VIEW), "view"))},
            "reqps",
            says="The ten views with most responses in a second.",
        ),
        graph(
            "Slowest views",
            {"{{view}}": top(10, quantile(0.95, VIEW_TIME, by=("view",)))},
            "s",
            says="The ten views with the longest p95.",
        ),
        graph(
            "Failing views",
            {
                "{{view}}": top(
                    10, divide(add_up(rate(BY_VIEW, ERRORS), "view"), add_up(rate(BY_VIEW), "view"))
                )
            },
            "percentunit",
            says="The ten views with the largest share of status 500 and above.",
        ),
    ],
)
STORES = Row(
    "Databases and caches",
    [
        graph(
            "Statements",
            {"{{alias}}": add_up(rate("django_db_execute_total"), "alias")},
            "ops",
            says="Statements in a second, by database.",
        ),
        graph(
            "Statement p95",
            {"{{alias}}": quantile(0.95, "django_db_query_duration_seconds", by=("alias",))},
            "s",
            says="19 of 20 statements took no longer.",
        ),
        graph(
            "Cache hits",
            {
                "{{backend}}": divide(
                    add_up(rate("django_cache_get_hits_total"), "backend"),
                    add_up(rate("django_cache_get_total"), "backend"),
                )
            },
            "percentunit",
            says="Share of keys that were found, by backend.",
        ),
    ],
)
WORKERS = Row(
    "Workers",
    [
        workers(),
        processors(),
        by_role(
            "django_worker_resident_memory_bytes",
            "bytes",
            "Memory",
            "Resident memory of all workers of a role; what they share counts in each.",
        ),
    ],
)
BOARD = Board(
    "overview",
    "Overview",
    "Whether a Django deployment is up, fast and without errors.",
    [NOW, REQUESTS, STORES, WORKERS],
)
