"""Messages with tasks that are sent and run, and what they add to the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request  # type: ignore[import-untyped]
from prometheus_client import REGISTRY

UNCERTAIN = ("_bucket", "_sum")
Counts = dict[str, float]


def show(app: Any) -> Counts:
    """Return what was counted of the app's tasks, without zeros."""
    found = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            labels = dict(sample.labels)
            ours = labels.pop("queue_name", "") == app.conf.task_default_queue
            if ours and sample.value and not sample.name.endswith(UNCERTAIN):
                short = sample.name.removeprefix("celery_task_").removesuffix("_total")
                labels.pop("name")
                found[" ".join([short, *labels.values()])] = sample.value
    return found


def value(app: Any, name: str, task: str) -> float:
    """Return one number of a task."""
    labels = {"name": task, "queue_name": app.conf.task_default_queue}
    return REGISTRY.get_sample_value(f"celery_task_{name}", labels) or 0.0


def active() -> float:
    """Return how many tasks are run."""
    return REGISTRY.get_sample_value("celery_worker_tasks_active") or 0.0


def take(app: Any, task: Any) -> Any:
    """Take the oldest message from the queue, as a worker makes a request of it."""
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue]
        message = queue(connection.channel()).get(no_ack=True)
    return Request(message, app=app, task=task)


def run_once(app: Any, task: Any, **options: Any) -> None:
    """Send a task, and run it as a worker without processes does."""
    task.apply_async(**options)
    take(app, task).execute()


def make_task(app: Any, body: Callable[[Any], object], name: str = "task") -> Any:
    """Make a task of a function that is given the task."""
    return app.task(body, name=name, bind=True)


def nothing(task: Any) -> None:
    """Do what most tasks of these tests do."""
