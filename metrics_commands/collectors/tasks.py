"""What waits and runs in the database: the backend of django-tasks-db.

The package django-tasks had the same table in it before version 0.12.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.apps import apps
from django.db.models import Case, Count, DateTimeField, F, Min, Q, QuerySet, When
from django.utils import timezone
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .registry import Surroundings, register

INTERVAL_SECONDS = 15.0
TIMEOUT_SECONDS = 5.0
MODEL = ("django_tasks_database", "DBTaskResult")
STATUSES = ("scheduled", "ready", "running", "failed", "successful")
MOST_QUEUES = 200
OTHER = "<other>"

Queue = tuple[str, str]


class Found(NamedTuple):
    """Rows by queue and status, and since when the oldest waits and the longest runs."""

    rows: Counter[tuple[Queue, str]]
    ready: dict[Queue, datetime]
    running: dict[Queue, datetime]


@register("tasks")
class TasksCollector:
    """Yield the depth of each queue; nothing where the project has no such table.

    A queue that was seen once stays, at zero, so that an alert on it ends when it is empty.
    """

    interval = INTERVAL_SECONDS
    timeout = TIMEOUT_SECONDS

    def __init__(self, surroundings: Surroundings) -> None:
        self._prefix = surroundings.prefix
        self._model = find_model()
        self._queues: dict[Queue, None] = {}

    def collect(self) -> Iterable[Metric]:
        """Yield three families, or raise what the database answers."""
        if self._model is None:
            return
        now = timezone.now()
        found = self._sort(list(count_rows(self._model, now)))
        rows, ready, running = make_families(self._prefix)
        for queue in self._queues:
            for status in STATUSES:
                rows.add_metric([*queue, status], found.rows[queue, status])
            ready.add_metric(queue, seconds_between(found.ready.get(queue, now), now))
            running.add_metric(queue, seconds_between(found.running.get(queue, now), now))
        yield from (rows, ready, running)

    def _sort(self, groups: Iterable[dict[str, Any]]) -> Found:
        found = Found(Counter(), {}, {})
        for each in groups:
            queue = self._remember(each["backend_name"], each["queue_name"])
            status, scheduled = name_status(each["status"]), 0
            if status == "ready":
                scheduled = each["scheduled"]
                keep_earliest(found.ready, queue, each["due"])
            elif status == "running":
                keep_earliest(found.running, queue, each["began"])
            found.rows[queue, "scheduled"] += scheduled
            found.rows[queue, status] += each["rows"] - scheduled
        return found

    def _remember(self, backend: str, name: str) -> Queue:
        """Return the labels of a queue; too many are one, since names may come from data."""
        queue = (backend, name)
        if queue not in self._queues and len(self._queues) >= MOST_QUEUES:
            queue = (OTHER, OTHER)
        self._queues[queue] = None
        return queue


def find_model() -> Any:
    """Return the model of the tasks in the database; None where no installed app has it."""
    try:
        return apps.get_model(*MODEL)
    except LookupError:
        return None


def make_families(prefix: str) -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    """Return the three families, still empty."""
    queue = ["backend", "queue"]
    return (
        GaugeMetricFamily(
            f"{prefix}django_task_results",
            "Tasks in the database, by status; those not due yet are scheduled, and not ready.",
            labels=[*queue, "status"],
        ),
        GaugeMetricFamily(
            f"{prefix}django_task_oldest_ready_seconds",
            "Time that the task has waited which is ready for longest; 0 where none is.",
            labels=queue,
        ),
        GaugeMetricFamily(
            f"{prefix}django_task_longest_running_seconds",
            "Time since the start of the task that runs for longest, or whose worker died.",
            labels=queue,
        ),
    )


def count_rows(model: Any, now: datetime) -> QuerySet[Any, dict[str, Any]]:
    """Return the one query: a row for each backend, queue and status."""
    # A task that may run at any time has the year 9999 there.
    scheduled = Q(run_after__gt=now, run_after__lt=datetime(9999, 1, 1, tzinfo=now.tzinfo))
    was_scheduled = Q(run_after__gt=F("enqueued_at"), run_after__lte=now)
    due = Case(
        When(scheduled, then=None),
        When(was_scheduled, then="run_after"),
        default="enqueued_at",
        output_field=DateTimeField(),
    )
    # In no order: the model's own would split the groups.
    groups: QuerySet[Any, dict[str, Any]] = (
        model.objects.order_by()
        .values("backend_name", "queue_name", "status")
        .annotate(
            rows=Count("pk"),
            scheduled=Count("pk", filter=scheduled),
            due=Min(due),
            began=Min("started_at"),
        )
    )
    return groups


def name_status(status: str) -> str:
    """Return a status as a label; django-tasks before 0.12 called one of them otherwise."""
    return status.lower().replace("succeeded", "successful")


def keep_earliest(times: dict[Queue, datetime], queue: Queue, time: datetime | None) -> None:
    """Keep a time if a queue has none that is earlier; several queues may count as one."""
    if time is not None:
        times[queue] = min(time, times.get(queue, time))


def seconds_between(begin: datetime, end: datetime) -> float:
    """Return how long ago something was; 0 where another machine's clock is ahead."""
    return max(0.0, (end - begin).total_seconds())
