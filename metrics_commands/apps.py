"""The Django app: it registers system checks, and opens, starts and asks nothing."""

from __future__ import annotations

from types import ModuleType

from django.apps import AppConfig
from django.core import checks as django_checks

from .directory import keep_values_in_memory, stays_in_memory


class MetricsCommandsConfig(AppConfig):
    """Configure the app; ``conf.py`` has what a user may decide."""

    name = "metrics_commands"
    verbose_name = "Metrics"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any models are loaded: an exporter must not write value files itself, also
        # where PROMETHEUS_MULTIPROC_DIR is set and use_metrics_directory() is not called.
        if stays_in_memory():
            keep_values_in_memory()

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks

        django_checks.register(checks.check_settings, checks.TAG)
        django_checks.register(checks.check_directory, checks.TAG)
