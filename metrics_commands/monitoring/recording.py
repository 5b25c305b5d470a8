"""What is asked often and costs much: rates, shares of errors and quantiles of each view."""

from __future__ import annotations

from .rule import Group, Recording

RESPONSES = "django_http_responses_total_by_status_view_method_total"
ERRORS = f'{RESPONSES}{{status=~"5.."}}'
LATENCY = "django_http_requests_latency_seconds_by_view_method_bucket"
ALL_RATE = "job_view:django_http_responses:rate5m"
ERROR_RATE = "job_view:django_http_errors:rate5m"
ERROR_SHARE = "job_view:django_http_errors_per_response:ratio_rate"
VIEW_QUANTILE = "job_view:django_http_requests_latency_seconds"
LONG_WINDOWS = ("30m", "1h", "2h", "6h", "1d", "3d")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

RATES = [
    Recording(ALL_RATE, f"sum by (namespace, job, view) (rate({RESPONSES}[5m]))"),
    # A view without an error yet has 0 of them, and not no number.
    Recording(
        ERROR_RATE,
        f"""
        sum by (namespace, job, view) (rate({ERRORS}[5m]))
        or
        0 * {ALL_RATE}
        """,
    ),
]
LATENCIES = [
    Recording(
        f"{VIEW_QUANTILE}:{name}_rate5m",
        f"""
        histogram_quantile({quantile},
          sum by (namespace, job, view, le) (rate({LATENCY}[5m]))
        )
        """,
    )
    for name, quantile in QUANTILES.items()
]


def share(window: str) -> Recording:
    """Return the rule for the share of errors in a time, from the rates that are recorded."""
    return Recording(
        f"{ERROR_SHARE}{window}",
        f"""
        sum_over_time({ERROR_RATE}[{window}])
        /
        (sum_over_time({ALL_RATE}[{window}]) > 0)
        """,
    )


SHARES = [
    Recording(f"{ERROR_SHARE}5m", f"{ERROR_RATE} / ({ALL_RATE} > 0)"),
    *map(share, LONG_WINDOWS),
]
GROUP = Group(
    "recording",
    """
    What alerts and dashboards would otherwise have Prometheus add up again and again.
    """,
    [*RATES, *SHARES, *LATENCIES],
)
