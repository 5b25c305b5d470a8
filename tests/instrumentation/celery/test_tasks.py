"""What Celery's tasks add to its families, with real messages of a broker in memory."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import signals  # type: ignore[import-untyped]
from celery.exceptions import Ignore, Reject  # type: ignore[import-untyped]
from kombu.exceptions import EncodeError
from prometheus_client import REGISTRY

from metrics_commands.instrumentation.celery_tasks import (
    RECEIVERS,
)

from .messages import UNCERTAIN, Counts, active, make_task, nothing, run_once, show, take, value

TASK = {"name", "queue_name"}
# Family, type, and labels: what celery-exporter has, without its label for hosts.
FAMILIES: dict[str, tuple[str, set[str]]] = {
    "celery_task_sent_total": ("counter", TASK),
    "celery_task_received_total": ("counter", TASK),
    "celery_task_started_total": ("counter", TASK),
    "celery_task_succeeded_total": ("counter", TASK),
    "celery_task_failed_total": ("counter", {*TASK, "exception"}),
    "celery_task_rejected_total": ("counter", TASK),
    "celery_task_revoked_total": ("counter", TASK),
    "celery_task_retried_total": ("counter", TASK),
    "celery_task_runtime_count": ("histogram", TASK),
    "celery_task_queue_wait_time_count": ("histogram", TASK),
    "celery_worker_tasks_active": ("gauge", set()),
}


def test_names_types_and_labels_are_those_that_dashboards_ask_for(app: Any) -> None:
    """Dashboards made for celery-exporter find each family, at zero before there is anything."""
    run_once(app, make_task(app, nothing))
    found: dict[str, tuple[str, set[str]]] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith("celery_") and not sample.name.endswith(UNCERTAIN):
                found[sample.name] = (family.type, set(sample.labels))
    assert {name: kind for name, kind in found.items() if "_active_" not in name} == FAMILIES


def test_a_success_is_counted_and_timed(app: Any) -> None:
    """While it runs a task is active; afterwards it has succeeded, in the time that it took."""
    seen = []

    def body(task: Any) -> None:
        seen.append(active())
        time.sleep(0.02)

    before = active()
    run_once(app, make_task(app, body, "slow"))
    assert seen == [before + 1]
    assert active() == before
    expected = ("sent", "started", "succeeded", "runtime_count", "queue_wait_time_count")
    assert show(app) == dict.fromkeys(expected, 1)
    assert value(app, "runtime_sum", "slow") >= 0.02


class Unpicklable(Exception):  # noqa: N818
    """An exception that Celery replaces, since it cannot be made again."""

    def __init__(self, first: object, second: object) -> None:
        super().__init__(lambda: None)


@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (ZeroDivisionError(), {"failed ZeroDivisionError": 1}),
        (Unpicklable(1, 2), {"failed Unpicklable": 1}),
        (Ignore(), {}),
    ],
    ids=["failed", "unpicklable", "ignored"],
)
def test_a_run_that_raises(app: Any, error: Exception, fate: Counts) -> None:
    """A failure counts by its class, and ``Ignore`` is neither success nor failure."""

    def body(task: Any) -> None:
        raise error

    before = active()
    run_once(app, make_task(app, body))
    assert show(app) == {"sent": 1, "started": 1, "queue_wait_time_count": 1, **fate}
    assert active() == before


def test_a_rejection_is_counted(app: Any) -> None:
    """Of a task that gives its message back, the run is over and rejected."""

    def body(task: Any) -> None:
        raise Reject("elsewhere", requeue=False)

    before = active()
    run_once(app, make_task(app, body))
    assert show(app)["rejected"] == 1
    assert "succeeded" not in show(app)
    assert active() == before


def test_a_retry_is_a_run_and_a_message_of_its_own(app: Any) -> None:
    """Each run counts, the retries as such and the last one as what it was."""

    def body(task: Any) -> None:
        if not task.request.retries:
            raise task.retry(countdown=0)

    task = make_task(app, body)
    run_once(app, task)
    first = {"sent": 2, "started": 1, "retried": 1, "queue_wait_time_count": 1}
    assert show(app) == first
    take(app, task).execute()
    last = {"started": 2, "queue_wait_time_count": 2, "succeeded": 1, "runtime_count": 1}
    assert show(app) == {**first, **last}


def test_a_task_that_expired_is_revoked(app: Any) -> None:
    """It is never started."""
    run_once(app, make_task(app, nothing), expires=-60)
    assert show(app) == {"sent": 1, "revoked": 1}


def test_what_runs_eagerly_is_not_counted(app: Any) -> None:
    """It was never sent, and no worker ran it: it is a part of the request that called it."""

    def body(task: Any) -> None:
        if not task.request.retries:
            raise task.retry(countdown=0)
        raise LookupError

    before = active()
    assert make_task(app, body).apply().failed()
    assert make_task(app, nothing, "other").apply().successful()
    assert show(app) == {}
    assert active() == before


def test_a_message_that_cannot_be_sent_is_not(app: Any) -> None:
    """Only what the broker has taken counts as sent."""
    with pytest.raises(EncodeError):
        app.send_task("task", [object()])
    assert show(app) == {}


def test_messages_of_others_have_no_wait(app: Any) -> None:
    """Where a sender is not watched nobody knows when it sent; the task counts nevertheless."""
    receiver = RECEIVERS["before_task_publish"]
    signals.before_task_publish.disconnect(receiver, dispatch_uid=receiver.__module__)
    run_once(app, make_task(app, nothing))
    assert show(app) == dict.fromkeys(("sent", "started", "succeeded", "runtime_count"), 1)


def test_a_run_whose_start_was_missed_is_counted(app: Any) -> None:
    """Its success is, without a time; and what never began to be active does not cease to."""
    receiver = RECEIVERS["task_prerun"]
    signals.task_prerun.disconnect(receiver, dispatch_uid=receiver.__module__)
    before = active()
    run_once(app, make_task(app, nothing))
    assert show(app) == {"sent": 1, "succeeded": 1}
    assert active() == before
