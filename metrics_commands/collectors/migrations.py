"""Migrations applied and not, by database; only the first scrape waits for them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from django.db import connections
from django.db.migrations.loader import MigrationLoader
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .. import exporter_settings
from .databases import borrowed_databases, list_databases
from .looks import Looks
from .registry import Surroundings, register

INTERVAL_SECONDS = 30.0
PATIENCE_SECONDS = 5.0


@register("migrations")
class MigrationsCollector:
    """Count what each database has seen, in the background, when a scrape finds it is time."""

    interval = INTERVAL_SECONDS

    def __init__(self, surroundings: Surroundings, patience: float = PATIENCE_SECONDS) -> None:
        self._prefix = surroundings.prefix
        self._aliases = list_aliases()
        self._looks = Looks("migrations", count_migrations, patience)

    def collect(self) -> Iterable[Metric]:
        """Yield both families, of the databases that have answered; raise for the others."""
        unapplied = self._make("unapplied", "Migrations that a database has yet to see.")
        applied = self._make("applied", "Migrations that a database has seen.")
        problems = []
        for look in self._looks.look(self._aliases):
            if look.found is not None:
                applied.add_metric([look.alias], look.found[0])
                unapplied.add_metric([look.alias], look.found[1])
            else:
                problems.append(f"database {look.alias}: {look.complain()}")
        yield unapplied
        yield applied
        if problems:
            raise RuntimeError("; ".join(problems))

    def _make(self, which: str, documentation: str) -> GaugeMetricFamily:
        name = f"{self._prefix}django_migrations_{which}_total"
        return GaugeMetricFamily(name, documentation, labels=["connection"])


def list_aliases() -> list[str]:
    """Return the databases that there are; none where the setting says so."""
    wanted = exporter_settings.EXPORT_MIGRATIONS.resolve_or_default()
    return list_databases() if wanted else []


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
    """Return how many migrations a database has seen, and how many not."""
    with borrowed_databases():
        # It asks the database, since what a squashed migration stands for depends on that.
        loader = Loader(connections[alias])
    return len(loader.applied_migrations), len(
        loader.graph.nodes.keys() - loader.applied_migrations
    )
