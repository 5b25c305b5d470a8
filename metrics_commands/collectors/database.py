"""Whether each database answers, how fast, and how much room PostgreSQL has for connections."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter
from typing import NamedTuple

from django.db import DatabaseError, connections
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .databases import borrowed_databases, list_databases
from .looks import Looks
from .registry import Surroundings, register

# Short enough for each scrape of one Prometheus to find the truth, and several to share it.
INTERVAL_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 3.0
# Of other users' sessions PostgreSQL tells no kind, only that they have a database.
COUNT_CONNECTIONS = """
SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity
WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
"""
# What makes SQLite read its file, which the simplest query does not.
READ_HEADER = "PRAGMA schema_version"


class Answer(NamedTuple):
    """What a database has answered; ``room`` is how many connections it has, and may have."""

    seconds: float
    vendor: str
    version: str
    room: tuple[int, int] | None


@register("database")
class DatabaseCollector:
    """Ask each database; one that is down or silent is ``up 0``, and the collector has worked.

    While other collectors have a database for long, what is shown is the answer before.
    """

    interval = INTERVAL_SECONDS
    timeout = TIMEOUT_SECONDS

    def __init__(self, surroundings: Surroundings, patience: float = PATIENCE_SECONDS) -> None:
        self._prefix = surroundings.prefix
        self._aliases = list_databases()
        self._looks = Looks("database", ask, patience)

    def collect(self) -> Iterable[Metric]:
        """Yield all families; raise for databases of which nothing could be known."""
        verdict = self._looks.judge(self._aliases)
        up, seconds, info, used, most = make_families(self._prefix)
        for alias, answer in verdict.known.items():
            up.add_metric([alias], float(answer is not None))
            if answer is not None:
                seconds.add_metric([alias], answer.seconds)
                info.add_metric([alias, answer.vendor, answer.version], 1)
            if answer is not None and answer.room is not None:
                used.add_metric([alias], answer.room[0])
                most.add_metric([alias], answer.room[1])
        yield from (up, seconds, info, used, most)
        if verdict.problems:
            raise RuntimeError("; ".join(verdict.problems))


def make_families(prefix: str) -> tuple[GaugeMetricFamily, ...]:
    """Return the five families, still empty."""
    alias = ["alias"]
    return (
        GaugeMetricFamily(
            f"{prefix}django_database_up", "Whether a database answers.", labels=alias
        ),
        GaugeMetricFamily(
            f"{prefix}django_database_ping_duration_seconds",
            "Time that a database took for the simplest query, connecting not included.",
            labels=alias,
        ),
        GaugeMetricFamily(
            f"{prefix}django_database_info",
            "Version of a database's server; the value is always 1.",
            labels=["alias", "vendor", "version"],
        ),
        GaugeMetricFamily(
            f"{prefix}django_database_connections",
            "Clients that PostgreSQL's whole server has, this deployment's and others'.",
            labels=alias,
        ),
        GaugeMetricFamily(
            f"{prefix}django_database_max_connections",
            "Clients that PostgreSQL's whole server may have.",
            labels=alias,
        ),
    )


def ask(alias: str) -> Answer:
    """Return what a database answers, or raise what it raises."""
    with borrowed_databases():
        connection = connections[alias]
        suffix: str = connection.features.bare_select_suffix
        ping = READ_HEADER if connection.vendor == "sqlite" else f"SELECT 1{suffix}"
        with connection.cursor() as cursor:
            begin = perf_counter()
            cursor.execute(ping)
            cursor.fetchall()
            seconds = perf_counter() - begin
            room = None
            # What speaks like PostgreSQL may not have its tables, and is up.
            with suppress(DatabaseError):
                if connection.vendor == "postgresql":
                    cursor.execute(COUNT_CONNECTIONS)
                    room = cursor.fetchone()
        version = ".".join(map(str, connection.get_database_version()))
        return Answer(seconds, connection.vendor, version, room)
