"""What every test needs: an environment without our settings, and clean logging afterwards."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest

# Who runs the tests by nohup, or in the background of a script, lets all below them ignore these.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


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
