"""The Django app: it registers system checks, and opens, starts and asks nothing."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from django.apps import AppConfig
from django.core import checks as django_checks

from .directory import adopt_environment


class MetricsCommandsConfig(AppConfig):
    """Configure the app; ``conf.py`` has what a user may decide."""

    name = "metrics_commands"
    verbose_name = "Metrics"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any models are loaded, whose metrics go where this decides.
        adopt_environment()

    def ready(self) -> None:
        """Register the system check, and switch the instrumentation on."""
        from .instrumentation.switch import switch_on

        switch_on()
        django_checks.register(run_checks, "metrics")


def run_checks(**kwargs: Any) -> list[django_checks.CheckMessage]:
    """Run the system checks; a worker, which runs none, does not even import them."""
    from .checks import check_all

    return check_all(**kwargs)
