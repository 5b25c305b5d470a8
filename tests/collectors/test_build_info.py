"""Versions of the exporter and of what it is built on."""

from __future__ import annotations

import platform
from importlib.metadata import version

import django

import metrics_commands
from metrics_commands.collectors.build_info import BuildInfoCollector
from metrics_commands.collectors.registry import Surroundings


def test_the_versions_that_run_are_shown() -> None:
    """A query tells which deployments still run an old version."""
    (family,) = BuildInfoCollector(Surroundings()).collect()
    (sample,) = family.samples
    assert (family.name, family.type, sample.value) == ("django_exporter_build_info", "gauge", 1)
    assert sample.labels == {
        "version": metrics_commands.__version__,
        "python_version": platform.python_version(),
        "django_version": django.get_version(),
        "prometheus_client_version": version("prometheus_client"),
    }
