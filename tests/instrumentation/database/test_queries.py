"""What queries add to the database families, on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from metrics_commands.instrumentation.database import Batch

from .statements import execute, insert_many, stored, value

# Family, type, and labels: what public dashboards of django-prometheus ask for.
FAMILIES: dict[str, tuple[str, set[str]]] = {
    "django_db_new_connections_total": ("counter", {"alias", "vendor"}),
    "django_db_new_connection_errors_total": ("counter", {"alias", "vendor"}),
    "django_db_execute_total": ("counter", {"alias", "vendor"}),
    "django_db_execute_many_total": ("counter", {"alias", "vendor"}),
    "django_db_errors_total": ("counter", {"alias", "vendor", "type"}),
    "django_db_query_duration_seconds": ("histogram", {"alias", "vendor"}),
}


def test_names_types_and_labels_are_those_that_dashboards_ask_for(
    connection: BaseDatabaseWrapper,
) -> None:
    """Dashboards made for django-prometheus find each family, and nothing else in its place."""
    with pytest.raises(DatabaseError):
        execute(connection, "no SQL")
    found: dict[str, tuple[str, set[str]]] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            series = sample.name.removesuffix("_count")
            ours = series.startswith("django_db_pool_") or series.endswith(("_bucket", "_sum"))
            if (
                series.startswith("django_db_")
                and not ours
                and not series.endswith(("_bucket", "_sum"))
            ):
                found[series] = (family.type, set(sample.labels))
    assert found == FAMILIES


def test_each_query_is_counted_and_timed(connection: BaseDatabaseWrapper) -> None:
    """A query is one statement and one duration, whatever else the database did to connect."""
    for _ in range(3):
        assert execute(connection, "SELECT %s", [7]) == [(7,)]
    alias = connection.alias
    assert value(alias, "execute_total") == 3
    assert value(alias, "query_duration_seconds_count") == 3
    assert 0 < (value(alias, "query_duration_seconds_sum") or 0) < 3
    assert value(alias, "execute_many_total") == 0
    assert value(alias, "errors_total", type="OperationalError") is None


def test_a_duration_is_what_the_database_took(connection: BaseDatabaseWrapper) -> None:
    """Slow queries are in the buckets of slow ones: the rows must be there before it ends."""
    slow = (
        "WITH RECURSIVE steps(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps LIMIT 300000) "
        "SELECT sum(n) FROM steps"
    )
    execute(connection, slow)
    assert value(connection.alias, "query_duration_seconds_bucket", le="0.01") == 0
    assert value(connection.alias, "query_duration_seconds_count") == 1


@pytest.mark.usefixtures("table")
def test_a_failed_query_is_an_error_by_its_class(connection: BaseDatabaseWrapper) -> None:
    """A failure is a statement that was sent, took time, and has the driver's class."""
    insert_many(connection, [[1]])
    with pytest.raises(IntegrityError):
        execute(connection, "INSERT INTO numbers VALUES (1)")
    with pytest.raises(KeyError):
        execute(connection, "SELECT %(missing)s", {"given": 1})
    alias = connection.alias
    assert value(alias, "errors_total", type="IntegrityError") == 1
    assert value(alias, "errors_total", type="KeyError") == 1
    assert value(alias, "execute_total") == 4
    assert value(alias, "query_duration_seconds_count") == 4


def test_what_django_refuses_was_never_sent(connection: BaseDatabaseWrapper) -> None:
    """Queries in a broken transaction do not reach the database, and are not counted."""
    with transaction.atomic(connection.alias):
        transaction.set_rollback(True, connection.alias)
        before = value(connection.alias, "execute_total")
        with pytest.raises(transaction.TransactionManagementError):
            execute(connection, "SELECT 1")
    assert before == 1, "BEGIN, which Django sends to SQLite as a query"
    assert value(connection.alias, "execute_total") == 1
    assert value(connection.alias, "errors_total", type="TransactionManagementError") is None


class Reiterable:
    """Parameters without a length, which are no iterator either."""

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[0], [1], [2]])


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "make",
    [
        lambda: [[0], [1], [2]],
        lambda: ((0,), (1,), (2,)),
        lambda: ([each] for each in range(3)),
        lambda: iter([[0], [1], [2]]),
        Reiterable,
    ],
    ids=["list", "tuple", "generator", "iterator", "reiterable"],
)
def test_executemany_counts_each_statement(
    connection: BaseDatabaseWrapper, make: Callable[[], Iterable[Any]]
) -> None:
    """Bulk statements count by their parameters, and any kind of parameters arrives whole."""
    insert_many(connection, make())
    alias = connection.alias
    assert value(alias, "execute_many_total") == 3
    assert value(alias, "execute_total") == 1 + 3
    assert value(alias, "query_duration_seconds_count") == 1 + 1
    assert stored(connection) == [0, 1, 2]


@pytest.mark.usefixtures("table")
def test_a_generator_that_fails_fails_as_without_metrics(connection: BaseDatabaseWrapper) -> None:
    """An error in the caller's own generator arrives as it is; what was taken is counted."""

    def fails() -> Iterator[list[int]]:
        yield [1]
        yield [2]
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        insert_many(connection, fails())
    assert value(connection.alias, "execute_many_total") == 2
    assert value(connection.alias, "errors_total", type="LookupError") == 1


@given(st.lists(st.integers()), st.integers(0, 10), st.booleans())
def test_a_driver_takes_what_it_would_have_taken(
    params: list[int], most: int, streams: bool
) -> None:
    """Counting takes nothing ahead, loses nothing, and keeps the order."""
    given_params = iter(params) if streams else params
    batch = Batch(given_params)
    assert list(islice(batch.parameters, most)) == params[:most]
    if streams:
        assert batch.size == len(params[:most])
        assert list(given_params) == params[most:]
    else:
        assert batch.parameters is params
        assert batch.size == len(params)


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_is_no_parameters_reaches_the_driver_as_it_is(nothing: Any) -> None:
    """Drivers answer for odd parameters themselves, some of them without an error."""
    batch = Batch(nothing)
    assert batch.parameters is nothing
    assert batch.size == 0
