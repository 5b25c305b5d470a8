"""How steady the exporter's own port is."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily

from .registry import Surroundings, register


@register("port")
class PortCollector:
    """Yield ``django_exporter_port_moves_total``, which the metrics directory remembers."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._count_moves = surroundings.count_moves

    def collect(self) -> Iterable[Metric]:
        """Yield the one family."""
        yield CounterMetricFamily(
            "django_exporter_port_moves",
            "Times that the exporters of this metrics directory began on another port than before.",
            value=self._count_moves(),
        )
