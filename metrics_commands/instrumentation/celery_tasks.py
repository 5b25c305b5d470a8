"""Count Celery's tasks by its signals: where they are sent, where they are run, and who runs them.

A message is given one header, the time when it was sent, since Celery's own messages do not say
it. Tasks that are run eagerly are function calls, and count nowhere.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from time import perf_counter
from typing import Any
from weakref import WeakValueDictionary

from . import role
from .celery_families import celery_families
from .guard import report_loss

SENT_HEADER = "runmetrics_sent"
START = "runmetrics_start"
FAILED = "runmetrics_failed"
UNKNOWN_TASK = "<unknown task>"
# Longer than any task waits; what says so has a date that is wrong.
LONGEST_WAIT = 90 * 86400.0

Receiver = Callable[..., None]
RECEIVERS: dict[str, Receiver] = {}

# What this worker was counted as, and the requests that it has: some signals tell only their id,
# and processes of its pool have others.
_announced: list[tuple[str, float]] = []
_requests: WeakValueDictionary[str, Any] = WeakValueDictionary()
os.register_at_fork(after_in_child=_requests.clear)


class LateCelery:
    """A finder of the import system that finds nothing, but notices that Celery will be used.

    Whatever sends or runs a task imports this one module of Celery first.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Listen from now on, where that module is looked for."""
        if name == "celery.app.amqp":
            # It is there, by the app that asks; to import something here might wait for ever.
            _listen(sys.modules.get("celery.signals"))


_late = LateCelery()


def watch_celery() -> None:
    """Count tasks if this process has imported Celery, or else as soon as it does.

    Celery is never imported just to be watched.
    """
    try:
        if "celery" in sys.modules:
            _listen(import_module("celery.signals"))
        elif _late not in sys.meta_path:
            sys.meta_path.insert(0, _late)
    except Exception:
        report_loss("Celery tasks")


def _listen(signals: Any) -> None:
    try:
        for name, receiver in RECEIVERS.items():
            getattr(signals, name).connect(receiver, weak=False, dispatch_uid=__name__)
    except Exception:
        report_loss("Celery tasks")


def on(signal: str) -> Callable[[Receiver], Receiver]:
    """Call a function at a signal of Celery's; its failure costs a number only."""

    def keep(record: Receiver) -> Receiver:
        @wraps(record)
        def receive(sender: Any = None, **given: Any) -> None:
            try:
                record(sender, **given)
            except Exception:
                report_loss(f"Celery's {signal}")

        RECEIVERS[signal] = receive
        return receive

    return keep


@on("before_task_publish")
def date_message(sender: Any, *, headers: dict[str, Any], **given: Any) -> None:
    """Write into a message when it was sent."""
    headers[SENT_HEADER] = time.time()


@on("after_task_publish")
def record_sent(sender: str, *, exchange: Any, routing_key: Any, **given: Any) -> None:
    """Count a task that was sent; ``sender`` is its name."""
    celery_families().sent.inc(sender, name_queue(exchange, routing_key))


@on("task_received")
def record_received(sender: Any, *, request: Any, **given: Any) -> None:
    """Count a task that this worker has taken from a queue."""
    _requests[request.id] = request
    _count("received", request.task, request)


@on("task_prerun")
def record_start(sender: Any, *, task: Any, **given: Any) -> None:
    """Count a run that begins, and how long its task has waited."""
    request = task.request
    if request.is_eager:
        return
    setattr(request, START, perf_counter())
    celery_families().active.inc()
    _count("started", task, request)
    waited = measure_wait(request, task.app.timezone, time.time())
    if waited is not None:
        celery_families().wait.observe(waited, task.name, queue_of(request))


@on("task_success")
def record_success(sender: Any, **given: Any) -> None:
    """Count a run that succeeded, and how long it took, where its start was noticed."""
    request = sender.request
    if request.is_eager:
        return
    ended = perf_counter()
    _count("succeeded", sender, request)
    if hasattr(request, START):
        seconds = ended - getattr(request, START)
        celery_families().runtime.observe(seconds, sender.name, queue_of(request))


@on("task_failure")
def record_failure(sender: Any, *, task_id: str, exception: BaseException, **given: Any) -> None:
    """Count a task that failed, also one whose process was killed, of which its worker tells."""
    request = _requests.get(task_id, sender.request)
    # Of a hard time limit Celery 5.7 tells twice.
    if sender.request.is_eager or hasattr(request, FAILED):
        return
    setattr(request, FAILED, True)
    celery_families().show(sender.name, queue_of(request))
    celery_families().failed.inc(sender.name, queue_of(request), name_exception(exception))


@on("task_retry")
def record_retry(sender: Any, *, request: Any, **given: Any) -> None:
    """Count a run that ended in a retry."""
    if not request.is_eager:
        _count("retried", sender, request)


@on("task_revoked")
def record_revoked(sender: Any, *, request: Any, **given: Any) -> None:
    """Count a task that is not run, or was stopped, since somebody said so or it has expired."""
    _count("revoked", sender, request)


@on("task_postrun")
def record_end(sender: Any, *, task: Any, state: Any = None, **given: Any) -> None:
    """Count a run as over, and a task that rejected its message."""
    if task.request.is_eager:
        return
    if hasattr(task.request, START):
        celery_families().active.inc(amount=-1.0)
    if state == "REJECTED":
        _count("rejected", task, task.request)


@on("task_rejected")
def record_rejected(sender: Any, *, message: Any, **given: Any) -> None:
    """Count a message of which the worker can make no task."""
    headers = message.headers if isinstance(message.headers, Mapping) else {}
    name = str(headers.get("task") or UNKNOWN_TASK)
    celery_families().rejected.inc(name, queue_of(message))


@on("task_unknown")
def record_unknown(sender: Any, *, message: Any, name: str, **given: Any) -> None:
    """Count a task that the worker does not know, which Celery makes fail."""
    celery_families().failed.inc(name, queue_of(message), "NotRegistered")


@on("worker_process_init")
def begin_process(sender: Any, **given: Any) -> None:
    """Count a process of the pool from its start: it may be idle for long."""
    role.begin()


@on("worker_ready")
def announce_worker(sender: Any, **given: Any) -> None:
    """Count this worker for each of its queues; ``sender`` is its consumer."""
    _withdraw()
    # Zero, where processes of the pool that have run tasks are gone.
    celery_families().active.inc(amount=0.0)
    processes = float(sender.controller.concurrency)
    _announced.extend((str(queue), processes) for queue in sender.app.amqp.queues.consume_from)
    for queue, _ in _announced:
        celery_families().workers.inc(queue)
        celery_families().processes.inc(queue, amount=processes)


@on("worker_shutdown")
def withdraw_worker(sender: Any, **given: Any) -> None:
    """Count this worker no longer; one that is killed goes with its value files."""
    _withdraw()


def _withdraw() -> None:
    while _announced:
        queue, processes = _announced.pop()
        celery_families().workers.inc(queue, amount=-1.0)
        celery_families().processes.inc(queue, amount=-processes)


def _count(what: str, task: Any, request: Any) -> None:
    queue = queue_of(request)
    celery_families().show(task.name, queue)
    getattr(celery_families(), what).inc(task.name, queue)


def queue_of(request: Any) -> str:
    """Return the queue that a request, or a message, came from."""
    delivery = request.delivery_info or {}
    return name_queue(delivery.get("exchange"), delivery.get("routing_key"))


def name_queue(exchange: Any, routing_key: Any) -> str:
    """Return the name of a queue, as far as a message tells it.

    It is the routing key wherever Celery chooses both; a broadcast has no routing key.
    """
    return str(routing_key or exchange or "")


def name_exception(exception: BaseException) -> str:
    """Return the class of an exception, also of one that Celery could not pickle."""
    return str(getattr(exception, "exc_cls_name", type(exception).__name__))


def measure_wait(request: Any, timezone: Any, now: float) -> float | None:
    """Return the seconds since a task was sent, or since its ETA where that is later.

    None where nobody knows: its sender was not watched, or it was delivered once before.
    """
    sent = getattr(request, SENT_HEADER, None)
    if not isinstance(sent, int | float) or (request.delivery_info or {}).get("redelivered"):
        return None
    due = max(float(sent), read_eta(request.eta, timezone))
    waited = max(0.0, now - due)
    return waited if waited <= LONGEST_WAIT else None


def read_eta(eta: Any, timezone: Any) -> float:
    """Return the Unix time of a message's ETA; minus infinity where it has none."""
    if eta is None:
        return -math.inf
    from celery.utils.time import (  # type: ignore[import-untyped]
        maybe_iso8601,
        maybe_make_aware,
    )

    return float(maybe_make_aware(maybe_iso8601(eta), timezone).timestamp())
