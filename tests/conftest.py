"""What every test needs: an environment without our settings, and clean logging afterwards."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _without_settings_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's environment, and what project.settings put there, out of the test."""
    for name in list(os.environ):
        if name.startswith("PROMETHEUS_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _with_default_logging() -> Iterator[None]:
    """Undo what configure_log does to the loggers."""
    loggers = [logging.getLogger(name) for name in ("metrics_commands", "tornado")]
    before = [(each.handlers, each.level, each.propagate) for each in loggers]
    yield
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)
