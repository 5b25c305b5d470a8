"""What all tests of Celery need: signals that are watched, and an app of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from celery import Celery, signals  # type: ignore[import-untyped]

from metrics_commands.instrumentation.celery_tasks import (
    RECEIVERS,
    watch_celery,
)
from metrics_commands.instrumentation.families import register

# Each task has a queue of its own, whose numbers begin at zero.
numbers = count()


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
