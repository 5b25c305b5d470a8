"""What the exporter's own server has answered, under the names that other exporters use."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    SummaryMetricFamily,
)

from .registry import Served, Spent, Surroundings, register

# So that a rate is known from the first one on.
USUAL_CODES = (200, 500, 503)
CAUSES = ("gathering", "encoding")


@register("http")
class HTTPCollector:
    """Yield how many scrapes were answered, how, and what they took."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._served = surroundings.served

    def collect(self) -> Iterable[Metric]:
        """Yield nothing where nobody serves, as with ``--once``."""
        if self._served is not None:
            yield from make_families(self._served)


def make_families(served: Served) -> Iterable[Metric]:
    """Yield the families of what was served so far; the scrape at hand is only in flight."""
    requests = CounterMetricFamily(
        "promhttp_metric_handler_requests_total",
        "Scrapes by the HTTP status of their answer.",
        labels=["code"],
    )
    for code in sorted({*USUAL_CODES, *served.requests}):
        requests.add_metric([str(code)], served.requests.get(code, 0))
    yield requests
    yield GaugeMetricFamily(
        "promhttp_metric_handler_requests_in_flight",
        "Scrapes that are being answered.",
        served.in_flight,
    )
    errors = CounterMetricFamily(
        "promhttp_metric_handler_errors_total",
        "Errors of scrapes: a collector that failed, a family that could not be written.",
        labels=["cause"],
    )
    for cause in CAUSES:
        errors.add_metric([cause], served.errors.get(cause, 0))
    yield errors
    yield _sum_up(
        "django_exporter_gather_duration_seconds",
        "Time that scrapes waited for all their collectors.",
        served.gather_seconds,
    )
    yield _sum_up(
        "django_exporter_encode_duration_seconds",
        "Time that writing a page took, without compression.",
        served.encode_seconds,
    )
    yield _sum_up(
        "django_exporter_page_bytes",
        "Size of the pages as they were sent, compressed or not.",
        served.page_bytes,
    )


def _sum_up(name: str, documentation: str, spent: Spent) -> SummaryMetricFamily:
    return SummaryMetricFamily(name, documentation, spent.count, spent.total)
