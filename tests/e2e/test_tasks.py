"""Tasks from the process that enqueues them to the page: a real worker, killed in the middle."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.db import DatabaseError, connections
from prometheus_client import Metric
from pytest_django import DjangoDbBlocker

from metrics_commands.collectors.databases import borrowed_databases
from metrics_commands.collectors.registry import Surroundings
from metrics_commands.collectors.tasks import TasksCollector
from tests.processes import (
    ROOT,
    Samples,
    Started,
    clean_environment,
    exporter,
    run_manage,
    sample,
    scrape,
    started,
)

from .postgresql import Server, postgresql

APP = "django_tasks_db"
BACKEND = f"{APP}.DatabaseBackend"
SETTINGS = """
from project.settings import *
import json, os

INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
DATABASES |= json.loads(os.environ["TEST_DATABASES"])
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["default", "mail"]}}
"""
JOBS = """
import signal

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task


@task
def add(first, second):
    return first + second


@task
def fail():
    raise LookupError("as it should")


@task(queue_name="mail")
def hang():
    print("hanging", flush=True)
    signal.pause()
"""
ENQUEUE = """
from datetime import timedelta
from django.utils import timezone
from jobs import add, fail, hang

for number in range(3):
    add.enqueue(number, 1)
fail.enqueue()
hang.enqueue()
add.using(queue_name="mail").enqueue(1, 2)
add.using(run_after=timezone.now() + timedelta(days=1)).enqueue(1, 2)
"""
WORKER = ("db_worker", "--queue-name", "*", "--interval", "0.05", "--no-startup-delay")

pytestmark = pytest.mark.skipif(find_spec(APP) is None, reason="django-tasks-db is missing")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a PostgreSQL server that runs."""
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a deployment whose tasks are in a database, not migrated yet."""
    (tmp_path / "task_settings.py").write_text(SETTINGS)
    (tmp_path / "jobs.py").write_text(JOBS)
    databases = {}
    if request.param == "postgresql":
        databases["default"] = request.getfixturevalue("server").settings()
    return clean_environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="task_settings",
        PROMETHEUS_METRICS_EXPORT_PORT="0",
        PYTHONPATH=str(tmp_path),
        TEST_DATABASES=json.dumps(databases),
    )


def kill_worker_in_a_task(environment: dict[str, str]) -> Started:
    """Start a worker, and end it by SIGKILL while a task runs."""
    with started([sys.executable, ROOT / "manage.py", *WORKER], environment) as worker:
        worker.wait_for("hanging")
        assert worker.stop(signal.SIGKILL) == -signal.SIGKILL
    return worker


def counted(
    samples: Samples, name: str, task: str, queue: str = "default", **labels: str
) -> float | None:
    """Return one number that workers count of a task."""
    every = {"task": f"jobs.{task}", "queue": queue, "backend": "default", **labels}
    return sample(samples, f"django_task_{name}", **every)


def outcomes(samples: Samples, task: str, queue: str = "default") -> list[float | None]:
    """Return how often a task has failed, and how often it has not."""
    name = "finished_total"
    statuses = ("failed", "successful")
    return [counted(samples, name, task, queue, status=status) for status in statuses]


def rows(samples: Samples, queue: str) -> list[float | None]:
    """Return how many tasks of a queue the database has, by status."""
    name = "django_task_results"
    statuses = ("scheduled", "ready", "running", "failed", "successful")
    labels = {"backend": "default", "queue": queue}
    return [sample(samples, name, **labels, status=status) for status in statuses]


def succeeds(samples: Samples) -> bool:
    """Tell whether the collector has worked."""
    return sample(samples, "django_exporter_collector_success", collector="tasks") == 1


def test_a_worker_that_is_killed_in_a_task_leaves_right_numbers(deployment: dict[str, str]) -> None:
    """What it began and finished is counted; the task that it left shows as running for longest."""
    assert run_manage(deployment, "migrate").returncode == 0
    enqueued = run_manage(deployment, "shell", "-c", ENQUEUE)
    assert enqueued.returncode == 0, enqueued.stderr
    worker = kill_worker_in_a_task(deployment)
    with exporter(deployment) as (_, url):
        samples = scrape(url)
    assert succeeds(samples), worker.output
    for task, queue, number in [("add", "default", 4), ("fail", "default", 1), ("hang", "mail", 1)]:
        assert counted(samples, "enqueued_total", task, queue) == number
    assert counted(samples, "started_total", "add") == 3
    assert outcomes(samples, "add") == [0, 3]
    assert outcomes(samples, "fail") == [1, 0]
    assert counted(samples, "started_total", "hang", "mail") == 1
    assert outcomes(samples, "hang", "mail") == [0, 0]
    assert counted(samples, "run_seconds_count", "add") == 3
    assert counted(samples, "run_seconds_count", "hang", "mail") is None
    assert counted(samples, "wait_seconds_count", "hang", "mail") == 1
    assert rows(samples, "default") == [1, 0, 0, 1, 3]
    assert rows(samples, "mail") == [0, 1, 1, 0, 0]
    for name in ("oldest_ready", "longest_running"):
        labels = {"backend": "default", "queue": "mail"}
        assert (sample(samples, f"django_task_{name}_seconds", **labels) or 0) > 0


@pytest.mark.parametrize("deployment", ["sqlite"], indirect=True)
def test_a_database_without_the_table_costs_its_own_numbers(deployment: dict[str, str]) -> None:
    """Before ``migrate`` the page is there, and says that this collector fails."""
    with exporter(deployment) as (_, url):
        samples = scrape(url)
        assert not succeeds(samples)
        assert sample(samples, "django_exporter_collector_success", collector="process") == 1
    assert run_manage(deployment, "migrate").returncode == 0
    with exporter(deployment) as (_, url):
        assert succeeds(scrape(url))


@pytest.fixture
def install(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[[Server], None]]:
    """Install the app of the tasks, in a server's database, in this process."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, APP]

    def install_in(server: Server) -> None:
        configured: dict[str, Any] = {"default": server.settings(NAME="template1")}
        connections.configure_settings(configured)
        monkeypatch.setitem(connections.settings, "default", configured["default"])
        del connections["default"]
        assert connections["default"].settings_dict["PORT"] == str(server.port)

    before = connections["default"]
    with django_db_blocker.unblock():
        yield install_in
        connections["default"].close()
    connections["default"] = before


def test_a_server_that_stops_and_comes_back(
    server: Server, install: Callable[[Server], None]
) -> None:
    """The same collector fails while PostgreSQL is away, and works once it is there again."""
    install(server)
    call_command("migrate", "django_tasks_database", verbosity=0)
    collector = TasksCollector(Surroundings())
    assert len(collect(collector)) == 3
    server.stop()
    with pytest.raises(DatabaseError):
        collect(collector)
    server.start()
    assert len(collect(collector)) == 3


def collect(collector: TasksCollector) -> list[Metric]:
    """Run a collector as the exporter does, which lends it the database."""
    with borrowed_databases():
        return list(collector.collect())
