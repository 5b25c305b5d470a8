"""Celery's signals are heard whenever it is imported, and what goes wrong there is not raised."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from celery import signals  # type: ignore[import-untyped]

from metrics_commands.instrumentation import guard
from metrics_commands.instrumentation.celery_tasks import (
    name_exception,
)
from tests.processes import ROOT, clean_environment, run


def test_a_number_that_is_lost_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A signal that says something else than Celery's costs a number, and one line."""
    monkeypatch.setattr(guard, "_reported", set())
    with caplog.at_level(logging.ERROR, logger="metrics_commands"):
        for _ in range(3):
            signals.task_success.send(sender=None, result=None)
    assert [each.getMessage().count("task_success") for each in caplog.records] == [1]


def test_an_exception_is_named_by_its_class() -> None:
    """No message of an exception becomes a label."""
    assert name_exception(ValueError("secret")) == "ValueError"


WATCH = f"""
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
sys.path.insert(0, {str(ROOT)!r})
import django
django.setup()
from metrics_commands.instrumentation.celery_tasks import watch_celery
watch_celery()
"""
SEND = """
from celery import Celery
app = Celery("late", broker="memory://")
app.send_task("late.task")
from prometheus_client import REGISTRY
labels = {"name": "late.task", "queue_name": "celery"}
print(REGISTRY.get_sample_value("celery_task_sent_total", labels))
"""


@pytest.mark.parametrize(
    ("program", "output"),
    [
        (f"{WATCH}print('celery' in sys.modules, 'kombu' in sys.modules)", "False False"),
        (WATCH + SEND, "1.0"),
        (WATCH.replace("import os, sys", "import os, sys, celery") + SEND, "1.0"),
    ],
    ids=["never", "later", "before"],
)
def test_celery_is_watched_whenever_it_is_imported(
    program: str, output: str, tmp_path: Any
) -> None:
    """A process without Celery imports nothing of it, and one that begins to send is counted."""
    done = run([sys.executable, "-W", "error", "-c", program], clean_environment(tmp_path))
    assert done.stdout.strip() == output, done.stderr
