"""Count background tasks by the three signals of Django 6 and of the package django-tasks.

They are sent where it happens: ``task_enqueued`` in a web process, the others in a worker.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

from .guard import report_loss
from .task_families import task_families

if TYPE_CHECKING:
    from django.tasks.base import TaskResult

BACKPORT = "django_tasks"
OUTCOMES = ("failed", "successful")


def watch_tasks() -> None:
    """Count tasks from now on; where a project has none, nothing of django-tasks is imported."""
    try:
        for package in list_packages():
            signals = import_module(f"{package}.signals")
            signals.task_enqueued.connect(count_enqueued)
            signals.task_started.connect(count_started)
            signals.task_finished.connect(count_finished)
    except Exception:
        report_loss("tasks")


def list_packages() -> Iterator[str]:
    """Yield whose signals there may be; a project may use both, for different tasks."""
    if django.VERSION >= (6, 0):
        yield "django.tasks"
    if uses_backport():
        yield BACKPORT


def uses_backport() -> bool:
    """Tell whether the project uses django-tasks: an app has imported it, or TASKS asks for it.

    A name may also be that of another package, as django_tasks_db is, which can do without it.
    """
    if BACKPORT in sys.modules:
        return True
    backends = [str(each.get("BACKEND")) for each in getattr(settings, "TASKS", {}).values()]
    return any(each.startswith(BACKPORT) for each in backends) and find_spec(BACKPORT) is not None


# The receivers raise nothing: a worker would take it for the task's own failure.
def count_enqueued(*, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Count a task that was put into a queue."""
    try:
        task_families().enqueued.inc(*label(task_result))
    except Exception:
        report_loss("tasks")


def count_started(*, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Count a task that begins, and how long it waited; its outcomes are at zero from now on."""
    try:
        families, labels = task_families(), label(task_result)
        families.started.inc(*labels)
        for status in OUTCOMES:
            families.finished.cell(*labels, status)
        wait = measure_wait(task_result)
        if wait is not None:
            families.wait_seconds.observe(wait, *labels)
    except Exception:
        report_loss("tasks")


def count_finished(*, task_result: TaskResult[Any, Any], **kwargs: Any) -> None:
    """Count a task that has ended, by its status, and how long it ran."""
    try:
        families, labels = task_families(), label(task_result)
        families.finished.inc(*labels, name_status(str(task_result.status)))
        seconds = measure_run(task_result)
        if seconds is not None:
            families.run_seconds.observe(seconds, *labels)
    except Exception:
        report_loss("tasks")


def label(result: TaskResult[Any, Any]) -> tuple[str, str, str]:
    """Return a task's path, queue and backend."""
    return result.task.module_path, result.task.queue_name, result.backend


def name_status(status: str) -> str:
    """Return a status as a label; django-tasks before 0.12 called one of them otherwise."""
    return status.lower().replace("succeeded", "successful")


def measure_wait(result: TaskResult[Any, Any]) -> float | None:
    """Return for how many seconds a task could have begun already.

    None where the backend does not say, or where it is tried again: since when is unknown.
    """
    if result.enqueued_at is None or result.started_at is None or len(result.worker_ids) > 1:
        return None
    due = max(result.enqueued_at, result.task.run_after or result.enqueued_at)
    return max(0.0, (result.started_at - due).total_seconds())


def measure_run(result: TaskResult[Any, Any]) -> float | None:
    """Return the seconds of a task's last try; None where the backend does not say."""
    began = result.last_attempted_at or result.started_at
    if began is None or result.finished_at is None:
        return None
    return max(0.0, (result.finished_at - began).total_seconds())
