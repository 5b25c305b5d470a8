"""What Celery's tasks add to its families, with real messages of a broker in memory."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from celery import Celery, signals  # type: ignore[import-untyped]
from celery.app.task import Context  # type: ignore[import-untyped]
from celery.exceptions import Ignore, Reject  # type: ignore[import-untyped]
from celery.worker.request import Request  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from kombu.exceptions import EncodeError
from prometheus_client import REGISTRY

from metrics_commands.instrumentation import guard
from metrics_commands.instrumentation.celery_tasks import (
    RECEIVERS,
    SENT_HEADER,
    measure_wait,
    name_exception,
    watch_celery,
)
from metrics_commands.instrumentation.families import register
from tests.processes import ROOT, clean_environment, run

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
UNCERTAIN = ("_bucket", "_sum")
# Each task has a queue of its own, whose numbers begin at zero.
numbers = count()

Counts = dict[str, float]


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    register()
    watch_celery()
    yield
    for name, receiver in RECEIVERS.items():
        getattr(signals, name).disconnect(receiver, dispatch_uid=receiver.__module__)


@pytest.fixture
def app() -> Iterator[Any]:
    """Yield an app with a broker in memory, and nothing of it afterwards."""
    queue = f"queue_{next(numbers)}"
    made = Celery("tests", broker="memory://", fixups=[], set_as_current=False)
    made.conf.update(task_default_queue=queue, task_ignore_result=True, timezone="Asia/Kathmandu")
    yield made
    with made.connection_for_write() as connection:
        connection.channel().queue_delete(queue)
    made.close()


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


def in_an_hour(zone: timezone) -> datetime:
    """Return when that is."""
    return datetime.now(zone) + timedelta(hours=1)


@pytest.mark.parametrize(
    "make_options",
    [
        lambda: {"countdown": 3600},
        lambda: {"eta": in_an_hour(timezone.utc)},
        lambda: {"eta": in_an_hour(timezone(timedelta(hours=-7)))},
        # Without a zone it is in UTC, whatever the app's is.
        lambda: {"eta": in_an_hour(timezone.utc).replace(tzinfo=None)},
    ],
    ids=["countdown", "UTC", "zone", "naive"],
)
def test_waiting_for_an_eta_is_no_waiting(
    app: Any, make_options: Callable[[], dict[str, Any]]
) -> None:
    """A task waits from its ETA on, as Celery itself understands it."""
    task = make_task(app, nothing)
    task.apply_async(**make_options())
    request = take(app, task)
    due = request.eta.timestamp()
    assert due == pytest.approx(time.time() + 3600, abs=120)
    context = Context(request.request_dict)
    assert measure_wait(context, app.timezone, due + 7) == pytest.approx(7)
    assert measure_wait(context, app.timezone, due - 7) == 0


@pytest.mark.parametrize(
    ("sent", "eta", "redelivered", "expected"),
    [
        (1000.0, None, False, 5.0),
        (1000, None, False, 5.0),
        (2000.0, None, False, 0.0),
        (1000.0, "1970-01-01T00:16:42+00:00", False, 3.0),
        (1000.0, "1970-01-01T00:16:42Z", False, 3.0),
        (1000.0, "1960-01-01T00:00:00+00:00", False, 5.0),
        (1000.0, None, True, None),
        (-1e9, None, False, None),
        ("1000", None, False, None),
        (None, None, False, None),
    ],
)
def test_a_wait_is_never_absurd(
    sent: object, eta: str | None, redelivered: bool, expected: float | None
) -> None:
    """Clocks that differ give zero; what is no time, and what was delivered before, nothing."""
    info = {"redelivered": redelivered}
    context = Context({SENT_HEADER: sent, "eta": eta, "delivery_info": info})
    assert measure_wait(context, timezone.utc, 1005.0) == expected


@given(st.floats() | st.integers(), st.floats(0, 2e9))
def test_no_header_decides_a_sum(sent: float, now: float) -> None:
    """Whatever a message says, a wait is finite and not negative."""
    context = Context({SENT_HEADER: sent, "eta": None, "delivery_info": None})
    waited = measure_wait(context, timezone.utc, now)
    assert waited is None or (waited >= 0 and math.isfinite(waited))


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
