"""The families of background tasks: Django's own, and those of the package django-tasks."""

from __future__ import annotations

import math
from functools import cache

from .families import Counter, Histogram, prefix

TASK = ("task", "queue", "backend")
# A task may take no time or half an hour, and may wait as long.
BOUNDS = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0, 300.0, 600.0, 1800.0, math.inf,
)  # fmt: skip


class TaskFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        name = f"{prefix()}django_task_"
        self.enqueued = Counter(f"{name}enqueued", "Tasks put into a queue.", TASK)
        self.started = Counter(f"{name}started", "Tasks that a worker began, each try.", TASK)
        self.finished = Counter(
            f"{name}finished", "Tasks that ended, by their status.", (*TASK, "status")
        )
        self.run_seconds = Histogram(
            f"{name}run_seconds", "Time that tasks ran, failed ones included.", TASK, bounds=BOUNDS
        )
        self.wait_seconds = Histogram(
            f"{name}wait_seconds",
            "Time from when a task was enqueued and due until its first start.",
            TASK,
            bounds=BOUNDS,
        )


@cache
def task_families() -> TaskFamilies:
    """Return the families, declaring them at the first call."""
    return TaskFamilies()
