"""Migrations applied and not, by database; only the first scrape waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from functools import cache

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .. import exporter_settings
from .registry import FAILURES, Surroundings, register

INTERVAL_SECONDS = 30.0
PATIENCE_SECONDS = 5.0
NO_DATABASE = "django.db.backends.dummy"


@register("migrations")
class MigrationsCollector:
    """Count what each database has seen, in the background, when a scrape finds it is time."""

    interval = INTERVAL_SECONDS

    def __init__(self, surroundings: Surroundings, patience: float = PATIENCE_SECONDS) -> None:
        self._prefix = f"{surroundings.namespace}_" if surroundings.namespace else ""
        self._patience = patience
        self._aliases = list_aliases()
        self._looks: dict[str, Look] = {}

    def collect(self) -> Iterable[Metric]:
        """Yield both families, of the databases that have answered; raise for the others."""
        unapplied = self._make("unapplied", "Migrations that a database has yet to see.")
        applied = self._make("applied", "Migrations that a database has seen.")
        problems = []
        for look in self._look():
            if look.found is not None:
                applied.add_metric([look.alias], look.found[0])
                unapplied.add_metric([look.alias], look.found[1])
            else:
                problems.append(f"database {look.alias}: {look.problem or look.complain()}")
        yield unapplied
        yield applied
        if problems:
            raise RuntimeError("; ".join(problems))

    def _look(self) -> Sequence[Look]:
        """Look into all databases at once; return the looks, whether they have ended or not.

        One that still goes on from an earlier time is waited for no longer.
        """
        begun = []
        for alias in self._aliases:
            if alias not in self._looks or not self._looks[alias].is_alive():
                self._looks[alias] = Look(alias)
                self._looks[alias].start()
                begun.append(self._looks[alias])
        end = time.monotonic() + self._patience
        for look in begun:
            look.join(max(0.0, end - time.monotonic()))
        return list(self._looks.values())

    def _make(self, which: str, documentation: str) -> GaugeMetricFamily:
        name = f"{self._prefix}django_migrations_{which}_total"
        return GaugeMetricFamily(name, documentation, labels=["connection"])


def list_aliases() -> list[str]:
    """Return the databases that there are; none where the setting says so."""
    if not exporter_settings.EXPORT_MIGRATIONS.resolve_or_default():
        return []
    return [name for name in connections if connections.settings[name]["ENGINE"] != NO_DATABASE]


class Look(threading.Thread):
    """A look into one database, which costs the others no time if it has to wait."""

    def __init__(self, alias: str) -> None:
        super().__init__(name=f"migrations {alias}", daemon=True)
        self.alias = alias
        self.found: tuple[int, int] | None = None
        self.problem = ""
        self._began = time.monotonic()

    def run(self) -> None:
        try:
            self.found = count_migrations(self.alias)
        except FAILURES as error:
            self.problem = f"{type(error).__name__}: {' '.join(str(error).split())}"

    def complain(self) -> str:
        """Say how long there has been no answer."""
        return f"no answer for {time.monotonic() - self._began:.0f} seconds"


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
