"""What the database knows of tasks: how many wait, run and have ended, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.db import DatabaseError, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client import Metric

from metrics_commands.collectors.registry import Surroundings, make_collectors
from metrics_commands.collectors.tasks import MODEL, MOST_QUEUES, OTHER, TasksCollector
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import scrape, succeeded

APP = "django_tasks_db"
ROWS = "django_task_results"
OLDEST = "django_task_oldest_ready_seconds"
LONGEST = "django_task_longest_running_seconds"
STATUSES = ("scheduled", "ready", "running", "failed", "successful")

needs_app = pytest.mark.skipif(find_spec(APP) is None, reason="django-tasks-db is missing")
Shown = dict[tuple[str, ...], float]


@pytest.fixture
def database(add_database: AddDatabase) -> Path:
    """Return where the only database will be, which nobody has opened."""
    path = add_database("default")
    assert connections["default"].settings_dict["NAME"] == path
    return path


@pytest.fixture
def path(settings: LazySettings, database: Path) -> Path:
    """Install the app of the tasks; return where its database will be, without the table."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, APP]
    return database


@pytest.fixture
def model(path: Path) -> Any:
    """Return the model of the tasks, whose table is empty."""
    create_table()
    return apps.get_model(*MODEL)


def create_table() -> None:
    """Do what the migrations of the app end with."""
    with connections["default"].schema_editor() as editor:
        editor.create_model(apps.get_model(*MODEL))


def add(
    model: Any,
    status: str = "READY",
    *queues: str,
    count: int = 1,
    enqueued: float = 0,
    due: float | None = None,
    started: float | None = None,
    backend: str = "default",
) -> None:
    """Add tasks to each queue, or the default one; times are seconds from now."""
    now = timezone.now()
    never = datetime(9999, 1, 1, tzinfo=now.tzinfo)
    rows = [
        model(
            status=status,
            args_kwargs={},
            task_path="jobs.some",
            queue_name=queue,
            backend_name=backend,
            run_after=never if due is None else now + timedelta(seconds=due),
            started_at=None if started is None else now + timedelta(seconds=started),
        )
        for queue in queues or ("default",)
        for _ in range(count)
    ]
    made = model.objects.bulk_create(rows)
    enqueued_at = now + timedelta(seconds=enqueued)
    model.objects.filter(pk__in=[row.pk for row in made]).update(enqueued_at=enqueued_at)


def show(collector: TasksCollector) -> Shown:
    """Return the samples of one run, by name and labels."""
    return list_values(collector.collect())


def list_values(families: Iterable[Metric]) -> Shown:
    """Return samples by name, queue and, if it is there, status."""
    labels = ("backend", "queue", "status")
    return {
        (each.name, *(each.labels[name] for name in labels if name in each.labels)): each.value
        for family in families
        for each in family.samples
    }


def count_rows(shown: Shown, queue: str = "default", backend: str = "default") -> dict[str, float]:
    """Return how many tasks of a queue have each status, zeros left out."""
    numbers = {status: shown[ROWS, backend, queue, status] for status in STATUSES}
    return {status: number for status, number in numbers.items() if number}


@needs_app
def test_tasks_are_counted_by_backend_queue_and_status(model: Any) -> None:
    """Each row of the table counts once, where it belongs, and all statuses are there."""
    add(model, "READY", "default", "mail", count=3)
    add(model, "RUNNING", "mail", started=-5)
    add(model, "FAILED", "default", count=2)
    add(model, "SUCCESSFUL", "default", count=4)
    add(model, "READY", "default", backend="other")
    shown = show(TasksCollector(Surroundings()))
    assert count_rows(shown) == {"ready": 3, "failed": 2, "successful": 4}
    assert count_rows(shown, "mail") == {"ready": 3, "running": 1}
    assert count_rows(shown, backend="other") == {"ready": 1}
    assert len([key for key in shown if key[0] == ROWS]) == 3 * len(STATUSES)


@needs_app
def test_a_status_has_one_name_in_all_versions(model: Any) -> None:
    """Rows that django-tasks of an earlier version left are among the successful."""
    add(model, "SUCCEEDED")
    add(model, "SUCCESSFUL")
    assert count_rows(show(TasksCollector(Surroundings()))) == {"successful": 2}


@needs_app
@pytest.mark.parametrize("use_tz", [True, False])
def test_what_is_scheduled_is_not_ready(model: Any, settings: LazySettings, use_tz: bool) -> None:
    """A task for tomorrow is no backlog, until it is due; with naive times as well."""
    settings.USE_TZ = use_tz
    add(model, enqueued=-7200, due=86400, count=2)
    collector = TasksCollector(Surroundings())
    shown = show(collector)
    assert count_rows(shown) == {"scheduled": 2}
    assert shown[OLDEST, "default", "default"] == 0
    model.objects.update(run_after=timezone.now() - timedelta(seconds=60))
    shown = show(collector)
    assert count_rows(shown) == {"ready": 2}
    assert shown[OLDEST, "default", "default"] == pytest.approx(60, abs=30)


@needs_app
@pytest.mark.parametrize(
    ("times", "age"),
    [
        ({"enqueued": -500}, 500),
        ({"enqueued": -500, "due": -300}, 300),
        ({"enqueued": -500, "due": -9000}, 500),
        ({"enqueued": 500}, 0),
    ],
    ids=["at_once", "later", "long_due", "other_clock"],
)
def test_the_oldest_has_waited_since_it_was_due(
    model: Any, times: dict[str, Any], age: float
) -> None:
    """Only time that a worker could have used counts, of what is ready, and never less than 0."""
    add(model, **times)
    add(model, "FAILED", enqueued=-8000)
    add(model, "RUNNING", enqueued=-8000, started=-4000)
    shown = show(TasksCollector(Surroundings()))
    assert shown[OLDEST, "default", "default"] == pytest.approx(age, abs=30)


@needs_app
def test_the_longest_running_is_shown_by_queue(model: Any) -> None:
    """Of several that run the first to start counts, and none that has ended."""
    add(model, "RUNNING", "default", started=-50)
    add(model, "RUNNING", "default", "mail", started=-700)
    add(model, "SUCCESSFUL", "default", started=-9000)
    shown = show(TasksCollector(Surroundings()))
    assert shown[LONGEST, "default", "default"] == pytest.approx(700, abs=30)
    assert shown[LONGEST, "default", "mail"] == pytest.approx(700, abs=30)


@needs_app
def test_a_queue_that_was_emptied_is_zero(model: Any) -> None:
    """An alert on a queue ends when its rows have gone, instead of keeping its last value."""
    add(model, "READY", enqueued=-500)
    add(model, "RUNNING", started=-500)
    collector = TasksCollector(Surroundings())
    before = show(collector)
    model.objects.all().delete()
    assert show(collector) == dict.fromkeys(before, 0)


@needs_app
def test_queues_are_bounded(model: Any) -> None:
    """Queues whose names come from data are one from the two hundredth on, and nothing is lost."""
    add(model, "READY", *(f"q{number}" for number in range(MOST_QUEUES + 20)), enqueued=-500)
    add(model, "RUNNING", *(f"q{number}" for number in range(MOST_QUEUES + 20)), started=-700)
    shown = show(TasksCollector(Surroundings()))
    assert len([key for key in shown if key[0] == OLDEST]) == MOST_QUEUES + 1
    assert count_rows(shown, OTHER, OTHER) == {"ready": 20, "running": 20}
    assert sum(number for key, number in shown.items() if key[0] == ROWS) == 2 * MOST_QUEUES + 40
    assert shown[OLDEST, OTHER, OTHER] == pytest.approx(500, abs=30)
    assert shown[LONGEST, OTHER, OTHER] == pytest.approx(700, abs=30)


@needs_app
def test_a_database_is_asked_once(model: Any) -> None:
    """However many queues there are, one query answers."""
    add(model, "READY", "one", "two", "three", count=3)
    add(model, "FAILED", "one", "two")
    with CaptureQueriesContext(connections["default"]) as queries:
        show(TasksCollector(Surroundings()))
    assert len(queries) == 1


@needs_app
def test_a_namespace_is_a_prefix(model: Any) -> None:
    """Names have the prefix that all have."""
    add(model)
    names = {key[0] for key in show(TasksCollector(Surroundings("zoo")))}
    assert names == {f"zoo_{ROWS}", f"zoo_{OLDEST}", f"zoo_{LONGEST}"}


def unlock(path: Path) -> None:
    """Make the database one that can be opened, with the table."""
    path.rmdir()
    create_table()


@needs_app
@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [(Path.touch, lambda path: create_table()), (Path.mkdir, unlock)],
    ids=["not_migrated", "cannot_be_opened"],
)
def test_a_database_that_fails_is_seen_and_heals(
    path: Path, break_it: Callable[[Path], None], mend_it: Callable[[Path], None]
) -> None:
    """Without table or database the collector fails, and the same one works once they are there."""
    break_it(path)
    collector = TasksCollector(Surroundings())
    for _ in range(2):
        with pytest.raises(DatabaseError):
            show(collector)
    assert not succeeded(scrape(make_collectors(["tasks"], Surroundings())), "tasks")
    mend_it(path)
    assert show(collector) == {}
    assert succeeded(scrape(make_collectors(["tasks"], Surroundings())), "tasks")


def test_a_project_without_such_tasks_has_no_families(database: Path) -> None:
    """Where no app has the table, nothing is shown, nothing fails, and no database is opened."""
    assert list(TasksCollector(Surroundings()).collect()) == []
    assert succeeded(scrape(make_collectors(["tasks"], Surroundings())), "tasks")
    assert not database.exists()
