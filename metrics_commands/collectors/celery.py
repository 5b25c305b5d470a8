"""Celery's queues in a Redis broker, and whether any worker is there to empty them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .registry import Surroundings, ValueFiles, register

INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 5.0
# Kombu tries again once, after two seconds, and is still in time.
BROKER_SECONDS = 1.0
MOST_QUEUES = 100
SENT = "celery_task_sent"
WORKERS = "celery_active_worker_count"

logger = logging.getLogger("metrics_commands")


@register("celery")
class CeleryCollector:
    """Look into the broker of the project's own Celery app; yield nothing where there is none."""

    interval = INTERVAL_SECONDS
    timeout = TIMEOUT_SECONDS

    def __init__(self, surroundings: Surroundings) -> None:
        self._files = surroundings.value_files
        self._has_told = False

    def collect(self) -> Iterable[Metric]:
        """Yield the family of workers also where the broker is down, which is raised."""
        app = find_app()
        if app is None:
            return
        counts = count_by_queue(self._files) if self._files is not None else {}
        up, waiting = make_families()
        if self._files is not None:
            up.add_metric([], float(any(counts.get(WORKERS, {}).values())))
            yield up
        queues = {str(each) for each in app.amqp.queues}.union(*counts.values())
        lengths = measure_queues(app, sorted(queues)[:MOST_QUEUES])
        if lengths is not None:
            self._tell_of_more(len(queues))
            for queue, length in lengths.items():
                waiting.add_metric([queue], length)
            yield waiting

    def _tell_of_more(self, queues: int) -> None:
        if queues > MOST_QUEUES and not self._has_told:
            self._has_told = True
            what = "Celery has %d queues; lengths are shown of the first %d by name."
            logger.warning(what, queues, MOST_QUEUES)


def make_families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    """Return the families without samples: whether a worker is up, and the lengths of queues."""
    return (
        GaugeMetricFamily("celery_worker_up", "Whether any worker of this deployment is up."),
        GaugeMetricFamily(
            "celery_queue_length",
            "Tasks that wait in a queue of the Redis broker, of all priorities.",
            labels=["queue_name"],
        ),
    )


def find_app() -> Any:
    """Return the app that Celery's support of Django has made the default; None without Celery."""
    return getattr(sys.modules.get("celery._state"), "default_app", None)


def count_by_queue(files: ValueFiles) -> dict[str, dict[str, float]]:
    """Return what the workers have counted by queue: tasks sent, and themselves."""
    counts: dict[str, dict[str, float]] = {SENT: {}, WORKERS: {}}
    for family in files.read().families(counts):
        for sample in family.samples:
            queue = sample.labels.get("queue_name", "")
            # Nor what stands for queues that found no room.
            if queue not in {"", "<other>"}:
                total = counts[family.name].get(queue, 0.0) + sample.value
                counts[family.name][queue] = total
    return counts


def measure_queues(app: Any, queues: Iterable[str]) -> Mapping[str, float] | None:
    """Return how many messages wait in each queue; None where the broker is no Redis."""
    options = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
    with app.connection_for_read(transport_options=options) as connection:
        if connection.transport.driver_type != "redis":
            return None
        with closing(connection.channel()) as channel:
            # In Redis a declaration makes nothing, and tells the sum of all priorities' lists.
            return {each: channel.queue_declare(each).message_count for each in queues}
