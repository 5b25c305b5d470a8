"""Migrations applied and not, by database; a scrape waits for none of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import cache

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .. import conf
from .registry import Surroundings, register

INTERVAL_SECONDS = 30.0
PATIENCE_SECONDS = 0.5
NO_DATABASE = "django.db.backends.dummy"


@register("migrations")
class MigrationsCollector:
    """Yield what the last look into each database found; scrapes begin the looks.

    A look runs in a thread of its own, so that a database that is slow or down costs this
    collector's success and nothing else. Where nobody scrapes, no database is asked.
    """

    def __init__(self, surroundings: Surroundings, interval: float = INTERVAL_SECONDS) -> None:
        self._prefix = f"{surroundings.namespace}_" if surroundings.namespace else ""
        self._watches = [Watch(alias, interval) for alias in list_aliases()]

    def collect(self) -> Iterable[Metric]:
        """Yield both families, of the databases that have answered; raise for the others."""
        unapplied = self._make("unapplied", "Migrations that a database has yet to see.")
        applied = self._make("applied", "Migrations that a database has seen.")
        problems = []
        for watch in self._watches:
            found, problem = watch.look()
            if found is not None:
                applied.add_metric([watch.alias], found[0])
                unapplied.add_metric([watch.alias], found[1])
            if problem:
                problems.append(f"database {watch.alias}: {problem}")
        yield unapplied
        yield applied
        if problems:
            raise RuntimeError("; ".join(problems))

    def _make(self, which: str, documentation: str) -> GaugeMetricFamily:
        name = f"{self._prefix}django_migrations_{which}_total"
        return GaugeMetricFamily(name, documentation, labels=["connection"])


def list_aliases() -> list[str]:
    """Return the databases that there are; none where the setting says so."""
    if not conf.EXPORT_MIGRATIONS.resolve_or_default():
        return []
    return [name for name in connections if connections.settings[name]["ENGINE"] != NO_DATABASE]


class Watch:
    """One database, looked into by one thread at a time."""

    def __init__(self, alias: str, interval: float) -> None:
        self.alias = alias
        self._interval = interval
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began = 0.0
        self._found: tuple[int, int] | None = None
        self._problem = ""

    def look(self) -> tuple[tuple[int, int] | None, str]:
        """Return what the last look found, applied and unapplied, and its problem, if any.

        The next look begins when it is due; one that goes on for longer is a problem.
        """
        started = False
        with self._lock:
            waited = time.monotonic() - self._began
            if self._thread is None or waited >= self._interval:
                if self._thread is not None and self._thread.is_alive():
                    return None, f"no answer for {waited:.0f} seconds"
                name = f"migrations {self.alias}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._began = time.monotonic()
                self._thread.start()
                started = True
        if started:
            # Mostly it is done by then, and `--once` has no second scrape.
            self._thread.join(PATIENCE_SECONDS)
        with self._lock:
            return self._found, self._problem

    def _run(self) -> None:
        try:
            found, problem = count_migrations(self.alias), ""
        except Exception as error:
            found, problem = None, f"{type(error).__name__}: {' '.join(str(error).split())}"
        with self._lock:
            self._found, self._problem = found, problem


class Loader(MigrationLoader):
    """A graph of migrations whose files were read once: a process never sees them change."""

    def load_disk(self) -> None:
        self.__dict__ |= read_disk()


@cache
def read_disk() -> dict[str, object]:
    """Return what Django's own loader knows of the migrations' files, without a database."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return {
        name: vars(loader)[name] for name in ("disk_migrations", "unmigrated_apps", "migrated_apps")
    }


def count_migrations(alias: str) -> tuple[int, int]:
    """Return how many migrations a database has seen, and how many not; close what was opened."""
    connection = connections[alias]
    try:
        # It asks the database, since what a squashed migration stands for depends on that.
        loader = Loader(connection)
    finally:
        # Not connection.close(), which leaves a database in memory open, as tests have one.
        BaseDatabaseWrapper.close(connection)
    return len(loader.applied_migrations), len(
        loader.graph.nodes.keys() - loader.applied_migrations
    )
