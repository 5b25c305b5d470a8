"""The families of Celery's tasks and workers, named as celery-exporter names them."""

from __future__ import annotations

import math
from functools import cache

from .families import Counter, Gauge, Histogram
from .store import current_store

TASK = ("name", "queue_name")
QUEUE = ("queue_name",)
RUNTIME_BUCKETS = (
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0, 1800.0, 3600.0, math.inf,
)  # fmt: skip
WAIT_BUCKETS = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, math.inf,
)  # fmt: skip
NO_EXCEPTION = ""


class CeleryFamilies:
    """All of them, made once in a process."""

    def __init__(self) -> None:
        self.sent = Counter("celery_task_sent", "Tasks sent to the broker.", TASK)
        self.received = Counter("celery_task_received", "Tasks that a worker received.", TASK)
        self.started = Counter("celery_task_started", "Runs of tasks that began.", TASK)
        self.succeeded = Counter("celery_task_succeeded", "Runs of tasks that succeeded.", TASK)
        self.failed = Counter(
            "celery_task_failed",
            "Tasks that failed, by class of exception; the empty one stays at zero.",
            (*TASK, "exception"),
        )
        self.rejected = Counter("celery_task_rejected", "Tasks that were rejected.", TASK)
        self.revoked = Counter("celery_task_revoked", "Tasks revoked, also by expiry.", TASK)
        self.retried = Counter("celery_task_retried", "Runs of tasks that ended in a retry.", TASK)
        self.runtime = Histogram(
            "celery_task_runtime",
            "Seconds that runs took which succeeded.",
            TASK,
            bounds=RUNTIME_BUCKETS,
        )
        self.wait = Histogram(
            "celery_task_queue_wait_time",
            "Seconds from the sending of a task, or from its ETA, to its start.",
            TASK,
            bounds=WAIT_BUCKETS,
        )
        self.active = Gauge("celery_worker_tasks_active", "Tasks that workers run now.")
        self.workers = Gauge(
            "celery_active_worker_count", "Workers that take tasks from a queue.", QUEUE
        )
        self.processes = Gauge(
            "celery_active_process_count",
            "Tasks that the workers of a queue can run at once.",
            QUEUE,
        )

    def show(self, name: str, queue: str) -> None:
        """Have all that may become of a task on the page, at zero, from the first time on.

        A dashboard's ratio of failures to successes is nothing while either of them is.
        """
        rows = current_store().rows
        if (CeleryFamilies, name, queue) not in rows:
            for family in (
                self.received, self.started, self.succeeded, self.rejected, self.revoked,
                self.retried, self.runtime,
            ):  # fmt: skip
                family.cell(name, queue)
            self.failed.cell(name, queue, NO_EXCEPTION)
            rows[CeleryFamilies, name, queue] = True


@cache
def celery_families() -> CeleryFamilies:
    """Return the families, declaring them at the first call."""
    return CeleryFamilies()
