"""What tasks add to the families: Django's own tasks, and those of the package django-tasks."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
from django.conf import LazySettings
from django.utils import timezone
from prometheus_client import REGISTRY

from metrics_commands.instrumentation import guard
from metrics_commands.instrumentation.families import register
from metrics_commands.instrumentation.tasks import (
    count_enqueued,
    count_finished,
    count_started,
    watch_tasks,
)
from tests.processes import clean_environment, run

PACKAGES = ("django.tasks", "django_tasks")
FOUND = [name for name in PACKAGES if find_spec(name) is not None]
if not FOUND:
    reason = "neither Django 6 nor the package django-tasks is installed"
    pytest.skip(reason, allow_module_level=True)
HERE = __name__
# Each test has a queue of its own name, whose numbers begin at zero.
queues = count()


@pytest.fixture(params=FOUND)
def tasks(request: pytest.FixtureRequest, settings: LazySettings) -> ModuleType:
    """Return the package whose tasks are watched; they run at once, or not at all."""
    name = request.param
    package = import_module(name)
    settings.TASKS = {
        "default": {"BACKEND": f"{name}.backends.immediate.ImmediateBackend", "QUEUES": []},
        "dummy": {"BACKEND": f"{name}.backends.dummy.DummyBackend", "QUEUES": []},
    }
    register()
    watch_tasks()
    return package


@pytest.fixture
def queue() -> str:
    """Return the name of a queue that nobody has used."""
    return f"queue_{next(queues)}"


def value(
    sample: str, task: Callable[..., object], queue: str, backend: str = "default", **labels: str
) -> float | None:
    """Return one number of a task, None where there is no such series."""
    every = {"task": f"{HERE}.{task.__name__}", "queue": queue, "backend": backend, **labels}
    return REGISTRY.get_sample_value(f"django_task_{sample}", every)


def outcomes(task: Callable[..., object], queue: str) -> list[float | None]:
    """Return how often a task failed, and how often it did not."""
    return [value("finished_total", task, queue, status=each) for each in ("failed", "successful")]


def double(number: int) -> int:
    """Succeed."""
    return 2 * number


async def double_later(number: int) -> int:
    """Succeed on an event loop."""
    return 2 * number


def fail(number: int) -> int:
    """Fail."""
    raise LookupError(number)


seen: list[list[float | None]] = []


def look(queue: str) -> None:
    """Note what is known of this very task while it runs."""
    seen.append([value("started_total", look, queue), *outcomes(look, queue)])


@pytest.mark.parametrize(
    ("function", "ends"),
    [(double, [0, 3]), (double_later, [0, 3]), (fail, [3, 0])],
    ids=["succeeds", "asynchronous", "fails"],
)
def test_a_task_is_counted_from_queue_to_end(
    tasks: ModuleType, queue: str, function: Callable[[int], Any], ends: list[float]
) -> None:
    """Each is enqueued, started and finished under its path, queue and backend, and timed."""
    task = tasks.task(queue_name=queue)(function)
    for number in range(3):
        task.enqueue(number)
    assert value("enqueued_total", function, queue) == 3
    assert value("started_total", function, queue) == 3
    assert outcomes(function, queue) == ends
    assert value("run_seconds_count", function, queue) == 3
    assert value("wait_seconds_count", function, queue) == 3
    assert value("wait_seconds_bucket", function, queue, le="0.05") == 3


def test_a_task_enqueued_by_asynchronous_code_is_counted(tasks: ModuleType, queue: str) -> None:
    """An asynchronous view's tasks count like any other."""
    asyncio.run(tasks.task(queue_name=queue)(double).aenqueue(2))
    assert value("enqueued_total", double, queue) == 1
    assert outcomes(double, queue) == [0, 1]


def test_both_outcomes_are_there_before_the_first_end(tasks: ModuleType, queue: str) -> None:
    """A first failure is seen as an increase, since the series was at zero before."""
    seen.clear()
    tasks.task(queue_name=queue)(look).enqueue(queue)
    assert seen == [[1, 0, 0]]


def test_what_only_enqueues_shows_nothing_else(
    tasks: ModuleType, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web process whose tasks run elsewhere has no series of their starts and ends."""
    function = double
    task = tasks.task(queue_name=queue, backend="dummy")(function)
    # Django 6.1 copies a task by its path, where it has to stand.
    monkeypatch.setattr(f"{__name__}.double", task)
    task.enqueue(2)
    assert value("enqueued_total", function, queue, "dummy") == 1
    assert value("started_total", function, queue, "dummy") is None
    assert value("finished_total", function, queue, "dummy", status="failed") is None


def make_result(tasks: ModuleType, queue: str, **changes: Any) -> Any:
    """Return what a backend tells of a task, in which times are seconds from now."""
    now = timezone.now()
    times = ("enqueued_at", "run_after", "started_at", "last_attempted_at", "finished_at")
    found = {
        name: None if changes.get(name) is None else now + timedelta(seconds=changes[name])
        for name in times
    }
    task = tasks.task(queue_name=queue, backend="dummy")(double)
    return tasks.TaskResult(
        task=task.using(run_after=found.pop("run_after")),
        id="1",
        status=changes.get("status", tasks.TaskResultStatus.RUNNING),
        args=[],
        kwargs={},
        backend="dummy",
        errors=[],
        worker_ids=changes.get("worker_ids", ["one"]),
        **found,
    )


@pytest.mark.parametrize(
    ("times", "waited"),
    [
        ({"enqueued_at": -10, "started_at": 0}, 10),
        ({"enqueued_at": -100, "run_after": -4, "started_at": 0}, 4),
        ({"enqueued_at": -10, "run_after": -4000, "started_at": 0}, 10),
        ({"enqueued_at": 5, "started_at": 0}, 0),
        ({"enqueued_at": -10, "run_after": 5, "started_at": 0}, 0),
        ({"enqueued_at": -10}, None),
        ({"started_at": 0}, None),
        ({"enqueued_at": -10, "started_at": 0, "worker_ids": ["one", "two"]}, None),
    ],
    ids=["now", "later", "long_due", "other_clock", "too_early", "unstarted", "unsaid", "again"],
)
def test_waiting_begins_when_a_task_is_due(
    tasks: ModuleType, queue: str, times: dict[str, Any], waited: float | None
) -> None:
    """Time until ``run_after`` is no wait, no wait is negative, and a second try has none."""
    signals = import_module(f"{tasks.__name__}.signals")
    signals.task_started.send(sender=None, task_result=make_result(tasks, queue, **times))
    assert value("started_total", double, queue, "dummy") == 1
    assert value("wait_seconds_sum", double, queue, "dummy") == waited


@pytest.mark.parametrize(
    ("times", "ran"),
    [
        ({"started_at": -10, "last_attempted_at": -10, "finished_at": 0}, 10),
        ({"started_at": -10, "last_attempted_at": -2, "finished_at": 0}, 2),
        ({"started_at": -10, "finished_at": 0}, 10),
        ({"started_at": 1, "last_attempted_at": 1, "finished_at": 0}, 0),
        ({"started_at": -10}, None),
        ({"finished_at": 0}, None),
    ],
    ids=["once", "again", "first_only", "other_clock", "unfinished", "unsaid"],
)
def test_running_is_the_last_try(
    tasks: ModuleType, queue: str, times: dict[str, Any], ran: float | None
) -> None:
    """A task that is tried again is timed from that try on; no time is negative."""
    signals = import_module(f"{tasks.__name__}.signals")
    result = make_result(tasks, queue, status=tasks.TaskResultStatus.SUCCESSFUL, **times)
    signals.task_finished.send(sender=None, task_result=result)
    assert value("finished_total", double, queue, "dummy", status="successful") == 1
    assert value("run_seconds_sum", double, queue, "dummy") == ran


def test_a_status_has_one_name_in_all_versions(tasks: ModuleType, queue: str) -> None:
    """Success is ``successful``, also where django-tasks of an earlier version says otherwise."""
    signals = import_module(f"{tasks.__name__}.signals")
    result = make_result(tasks, queue, status="SUCCEEDED")
    signals.task_finished.send(sender=None, task_result=result)
    assert value("finished_total", double, queue, "dummy", status="successful") == 1


def test_watching_twice_counts_once(tasks: ModuleType, queue: str) -> None:
    """However often Django gets ready, a task is one."""
    watch_tasks()
    tasks.task(queue_name=queue)(double).enqueue(1)
    assert value("enqueued_total", double, queue) == 1


@pytest.mark.parametrize("receiver", [count_enqueued, count_started, count_finished])
def test_what_cannot_be_counted_costs_the_task_nothing(
    receiver: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A backend that tells of its tasks in a way of its own is logged, once, and not stopped."""
    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(logging.getLogger("metrics_commands"), "propagate", True)
    strange: Any = object()
    for _ in range(2):
        receiver(sender=None, task_result=strange)
    assert [each.levelname for each in caplog.records] == ["ERROR"]


IMPORTS = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS={apps!r}, **{extra!r})
import django
django.setup()
from metrics_commands.instrumentation.tasks import watch_tasks
watch_tasks()
print(sorted(name for name in {packages!r} if name in sys.modules))
"""
BACKPORTS = {"TASKS": {"default": {"BACKEND": "django_tasks.backends.dummy.DummyBackend"}}}
OTHERS = {"TASKS": {"default": {"BACKEND": "jobs.Backend"}}}


@pytest.mark.skipif("django_tasks" not in FOUND, reason="the package django-tasks is missing")
@pytest.mark.parametrize(
    ("apps", "extra", "used"),
    [
        ([], {}, False),
        ([], OTHERS, False),
        ([], BACKPORTS, True),
        (["django_tasks"], {}, True),
    ],
    ids=["unused", "other_backend", "in_settings", "installed"],
)
def test_django_tasks_is_imported_where_it_is_used(
    tmp_path: Path, apps: list[str], extra: dict[str, Any], used: bool
) -> None:
    """A project that only happens to have the package installed does not load it."""
    code = IMPORTS.format(apps=["metrics_commands", *apps], extra=extra, packages=PACKAGES)
    done = run([sys.executable, "-c", code], clean_environment(tmp_path))
    own = ["django.tasks"] if django.VERSION >= (6, 0) else []
    assert done.stdout.strip() == str([*own, "django_tasks"] if used else own), done.stderr
    assert done.stderr == ""
