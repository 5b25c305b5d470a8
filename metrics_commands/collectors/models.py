"""Rows of the models that the project names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.apps import apps
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from ..errors import ConfigurationError
from ..exporter_settings import COUNTED_MODELS
from ..parsers import shorten
from ..setting import Given, Options
from .databases import borrowed_databases
from .looks import Looks
from .registry import FAILURES, Surroundings, register

INTERVAL_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
# To count as many takes PostgreSQL about a tenth of a second.
MOST_EXACT = 1_000_000
ESTIMATE = "SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)"


class Counted(NamedTuple):
    """The rows of models in one database, and why those of others are not known."""

    rows: Mapping[str, float]
    problems: list[str]


@register("models")
class ModelsCollector:
    """Count the rows of each model where Django would read them; none unless models are named."""

    interval = INTERVAL_SECONDS
    timeout = TIMEOUT_SECONDS

    def __init__(self, surroundings: Surroundings, most_exact: float = MOST_EXACT) -> None:
        self._prefix = surroundings.prefix
        chosen = surroundings.counted_models
        self._models = choose_models() if chosen is None else chosen
        self._most_exact = most_exact
        self._looks = Looks("models", self._count, PATIENCE_SECONDS)

    def collect(self) -> Iterable[Metric]:
        """Yield the one family; raise for models that could not be counted."""
        if not self._models:
            return
        family = GaugeMetricFamily(
            f"{self._prefix}django_model_rows",
            "Rows of a model's table; PostgreSQL's own estimate where it is a million or more.",
            labels=["model"],
        )
        problems = []
        for look in self._looks.look(self._sort()):
            if look.found is None:
                problems.append(f"database {look.alias}: {look.complain()}")
                continue
            for name, rows in look.found.rows.items():
                family.add_metric([name], rows)
            problems += look.found.problems
        yield family
        if problems:
            raise RuntimeError("; ".join(problems))

    def _sort(self) -> dict[str, list[type[Model]]]:
        """Return the models by the database that they are read from now."""
        sorted_models = defaultdict(list)
        for model in self._models:
            sorted_models[router.db_for_read(model)].append(model)
        return sorted_models

    def _count(self, alias: str) -> Counted:
        rows: dict[str, float] = {}
        problems: list[str] = []
        for model in self._sort().get(alias, []):
            name = model._meta.label  # noqa: SLF001
            try:
                # For each anew, so that others have their turn between two large ones.
                with borrowed_databases():
                    rows[name] = count_rows(model, alias, self._most_exact)
            except FAILURES as error:
                reason = " ".join(str(error).split())
                problems.append(f"model {name}: {type(error).__name__}: {reason}")
        return Counted(rows, problems)


def choose_models(options: Options | None = None) -> tuple[type[Model], ...]:
    """Return the models whose rows are counted; a name of none raises ConfigurationError."""
    for given in COUNTED_MODELS.given(options or {}):
        names = COUNTED_MODELS.parse_given(given)
        return tuple(dict.fromkeys(find_model(given, name) for name in names))
    return ()


def find_model(given: Given, name: str) -> type[Model]:
    """Return the model of a name that somebody wrote, or raise ConfigurationError."""
    try:
        return apps.get_model(name)
    except (LookupError, ValueError):
        raise ConfigurationError(
            f"{given.label} names {shorten(name)}, which is no model of an installed app:"
            " it should be an app's label and a model's name, as 'auth.User'.",
            from_option=given.source == "option",
        ) from None


def count_rows(model: type[Model], alias: str, most_exact: float = MOST_EXACT) -> float:
    """Return how many rows a model's table has; PostgreSQL's estimate where it is large."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        estimate = estimate_rows(connection, model._meta.db_table)  # noqa: SLF001
        if estimate >= most_exact:
            return estimate
    # Not the default manager, which may hide rows.
    return float(model._base_manager.using(alias).count())  # noqa: SLF001


def estimate_rows(connection: BaseDatabaseWrapper, table: str) -> float:
    """Return what PostgreSQL's planner goes by; -1 for a table that was never looked at."""
    with connection.cursor() as cursor:
        cursor.execute(ESTIMATE, [connection.ops.quote_name(table)])
        found = cursor.fetchone()
    return -1.0 if found is None else float(found[0])
