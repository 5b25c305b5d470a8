"""What each database has seen of the migrations is shown, and none costs the others."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from prometheus_client import Metric

from metrics_commands.collectors.migrations import MigrationsCollector
from metrics_commands.collectors.registry import Surroundings, make_collectors
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import AGE, read
from tests.processes import clean_environment, exporter, sample, scrape, wait_until

APPLIED = "django_migrations_applied_total"
UNAPPLIED = "django_migrations_unapplied_total"

Shown = dict[tuple[str, str], float]


def show(collector: MigrationsCollector) -> Shown:
    """Return what one run finds; what failed is missing."""
    families: list[Metric] = []
    with suppress(RuntimeError):
        families.extend(collector.collect())
    return list_values(families)


def list_values(families: list[Metric]) -> Shown:
    """Return the samples of families by name and connection."""
    return {
        (sample.name, sample.labels["connection"]): sample.value
        for family in families
        for sample in family.samples
    }


def problem_of(collector: MigrationsCollector) -> str:
    """Return why the collector fails, or nothing."""
    try:
        list(collector.collect())
    except RuntimeError as error:
        return str(error)
    return ""


def migrate(alias: str, *where: str) -> None:
    """Migrate one database."""
    call_command("migrate", *where, database=alias, verbosity=0)
    connections[alias].close()


def test_a_database_is_counted_as_the_migrate_command_sees_it(add_database: AddDatabase) -> None:
    """Both numbers are those of Django's own plan, before and after it was carried out."""
    add_database("main")
    for step in range(2):
        executor = MigrationExecutor(connections["main"])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        assert bool(plan) == (step == 0)
        assert show(MigrationsCollector(Surroundings())) == {
            (APPLIED, "main"): len(executor.loader.applied_migrations),
            (UNAPPLIED, "main"): len(plan),
        }
        migrate("main")


def test_nothing_is_asked_before_the_first_scrape(add_database: AddDatabase) -> None:
    """Making the collector opens no database; its first run does."""
    path = add_database("main")
    collector = MigrationsCollector(Surroundings())
    assert not path.exists()
    assert show(collector)


def test_the_numbers_are_fresh_after_migrate(add_database: AddDatabase) -> None:
    """Whoever runs ``migrate`` while the exporter runs sees it at the next look, and back too."""
    add_database("main")
    collector = MigrationsCollector(Surroundings())
    assert show(collector)[UNAPPLIED, "main"] > 0
    migrate("main")
    assert show(collector)[UNAPPLIED, "main"] == 0
    migrate("main", "shop", "zero")
    assert show(collector)[UNAPPLIED, "main"] > 0


def test_a_database_is_asked_once_in_an_interval(add_database: AddDatabase) -> None:
    """However often somebody scrapes, a database has little to do, and the page tells the age."""
    add_database("main")
    collectors = make_collectors(["migrations"], Surroundings())
    before = collectors.gather(seconds=60)
    assert before.complete
    migrate("main")
    for _ in range(50):
        samples = read(collectors.gather())
        assert sample(samples, UNAPPLIED, connection="main") == sample(
            read(before), UNAPPLIED, connection="main"
        )
        assert (sample(samples, AGE, collector="migrations") or 0) > 0


def test_a_namespace_is_a_prefix(add_database: AddDatabase) -> None:
    """Names have the prefix that all have."""
    add_database("main")
    found = show(MigrationsCollector(Surroundings("zoo")))
    assert {name for name, _ in found} == {f"zoo_{APPLIED}", f"zoo_{UNAPPLIED}"}


def test_a_database_that_is_down_costs_itself_and_heals(
    add_database: AddDatabase, tmp_path: Path
) -> None:
    """The reason names database and error, the others are shown, and it comes back by itself."""
    add_database("main")
    add_database("other", "missing/other.sqlite3")
    collector = MigrationsCollector(Surroundings())
    expected = "database other: OperationalError: unable to open database file"
    assert problem_of(collector) == expected
    assert {alias for _, alias in show(collector)} == {"main"}
    (tmp_path / "missing").mkdir()
    assert {alias for _, alias in show(collector)} == {"main", "other"}
    assert not problem_of(collector)


def test_a_database_that_hangs_costs_itself_and_heals(add_database: AddDatabase) -> None:
    """The others are shown in spite of a lock, and one thread only waits for it."""
    path = add_database("main", timeout=60)
    add_database("other")
    migrate("main")
    collector = MigrationsCollector(Surroundings(), patience=0.5)
    with closing(sqlite3.connect(path, isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        for _ in range(3):
            assert problem_of(collector).startswith("database main: no answer for ")
            assert {alias for _, alias in show(collector)} == {"other"}
        threads = [each.name for each in threading.enumerate()]
        assert threads.count("migrations main") == 1
        locked.execute("ROLLBACK")
    wait_until(lambda: not problem_of(collector))
    assert show(collector)[UNAPPLIED, "main"] == 0


def test_no_connection_stays_open(add_database: AddDatabase) -> None:
    """Between two looks a database has nothing of ours to keep, nor does the kernel."""
    path = add_database("main")
    collector = MigrationsCollector(Surroundings())
    for _ in range(5):
        assert show(collector)
    assert [each for each in list_open_files() if each == path] == []


def list_open_files() -> list[Path]:
    """Return what this process has open."""
    import psutil

    return [Path(each.path) for each in psutil.Process().open_files()]


def test_it_can_be_switched_off(add_database: AddDatabase, settings: LazySettings) -> None:
    """With django-prometheus's setting at False nothing is asked, and nothing shown."""
    path = add_database("main")
    settings.PROMETHEUS_EXPORT_MIGRATIONS = False
    collector = MigrationsCollector(Surroundings())
    for _ in range(5):
        assert list_values(list(collector.collect())) == {}
    assert not path.exists()


def test_a_project_without_databases_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Django puts in the place of a missing database is none."""
    monkeypatch.setitem(
        connections.settings, "default", connections.configure_settings({})["default"]
    )
    collector = MigrationsCollector(Surroundings())
    for _ in range(5):
        assert list_values(list(collector.collect())) == {}


@pytest.mark.e2e
def test_the_exporter_shows_what_is_to_be_migrated(tmp_path: Path) -> None:
    """A deployment whose database was not migrated is seen; no pid is in the labels."""
    with exporter(clean_environment(tmp_path)) as (_, url):

        def ask(name: str) -> float | None:
            return sample(scrape(url), name, connection="default")

        assert wait_until(lambda: ask(UNAPPLIED)) > 0
        assert ask(APPLIED) == 0
        assert sample(scrape(url), "django_exporter_collector_success", collector="migrations") == 1
