"""Versions of the exporter and of what it is built on."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version

import django
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .. import __version__
from .registry import Surroundings, register


@register("build_info")
class BuildInfoCollector:
    """Yield ``django_exporter_build_info``, whose value is always 1."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._labels = {
            "version": __version__,
            "python_version": platform.python_version(),
            "django_version": django.get_version(),
            "prometheus_client_version": version("prometheus_client"),
        }

    def collect(self) -> Iterable[Metric]:
        """Yield the one family."""
        family = GaugeMetricFamily(
            "django_exporter_build_info",
            "Versions of the exporter and of what it is built on; the value is always 1.",
            labels=list(self._labels),
        )
        family.add_metric(list(self._labels.values()), 1)
        yield family
