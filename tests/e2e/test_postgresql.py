"""PostgreSQL: pools, server-side cursors, a server that stops, and requests under ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any

import django
import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import LazySettings
from django.core.handlers.asgi import ASGIHandler
from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.urls import path
from prometheus_client import REGISTRY
from pytest_django import DjangoDbBlocker

from metrics_commands.instrumentation.database import watch_databases
from project.shop.models import Product
from tests.processes import TIMEOUT

from .postgresql import Server, postgresql

MIDDLEWARE = [
    "metrics_commands.middleware.PrometheusBeforeMiddleware",
    "metrics_commands.middleware.PrometheusAfterMiddleware",
]
Connect = Callable[..., BaseDatabaseWrapper]
has_pools = pytest.mark.skipif(django.VERSION < (5, 1), reason="Django has pools since 5.1")

# Each test has a database of its own name, whose numbers begin at zero.
numbers = count()


def ask(request: HttpRequest, alias: str, queries: int) -> HttpResponse:
    """Ask the database, and answer."""
    for _ in range(queries):
        execute(connections[alias], "SELECT 1")
    return HttpResponse(b"asked")


def change_and_fail(request: HttpRequest, alias: str) -> HttpResponse:
    """Write what ATOMIC_REQUESTS takes back."""
    execute(connections[alias], "INSERT INTO numbers VALUES (1)")
    raise LookupError("after writing")


urlpatterns = [
    path("few/<alias>", ask, {"queries": 3}, name="few_queries"),
    path("many/<alias>", ask, {"queries": 30}, name="many_queries"),
    path("fails/<alias>", change_and_fail, name="writes_and_fails"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server that runs."""
    with postgresql() as running:
        yield running


@pytest.fixture
def connect(
    server: Server, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Connect]:
    """Yield a function that makes a connection object of a new alias."""
    monkeypatch.setattr(connections, "create_connection", connections.create_connection)
    watch_databases()
    made: list[Any] = []

    def make(**changes: Any) -> BaseDatabaseWrapper:
        alias = f"postgresql_{next(numbers)}"
        configured = connections.configure_settings(
            {"default": {}, alias: server.settings(**changes)}
        )
        monkeypatch.setitem(connections.settings, alias, configured[alias])
        made.append(connections[alias])
        return connections[alias]

    with django_db_blocker.unblock():
        yield make
        for connection in made:
            connection.close()
            if connection.settings_dict["OPTIONS"].get("pool"):
                connection.close_pool()
            del connections[connection.alias]


@pytest.fixture
def table(connect: Connect) -> Iterator[None]:
    """Lend an empty table of distinct numbers."""
    owner = connect()
    execute(owner, "CREATE TABLE numbers (number INTEGER UNIQUE)")
    yield
    execute(owner, "DROP TABLE numbers")


def execute(connection: BaseDatabaseWrapper, sql: str) -> list[Any]:
    """Run one query and return the rows it has."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def value(alias: str, sample: str, **labels: str) -> float | None:
    """Return one number of a database, None where there is no such series."""
    every = {"alias": alias, "vendor": "postgresql", **labels}
    return REGISTRY.get_sample_value(f"django_db_{sample}", every)


def errors(alias: str) -> dict[str, float]:
    """Return how many errors of each type a database has had."""
    return {
        sample.labels["type"]: sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "django_db_errors_total" and sample.labels["alias"] == alias
    }


def by_view(sample: str, view: str) -> float:
    """Return one number of a view's requests, 0 where there is none yet."""
    labels = {"view": view, "method": "GET"}
    return REGISTRY.get_sample_value(f"django_http_view_{sample}", labels) or 0.0


async def visit(site: ASGIHandler, url: str) -> int:
    """Return the status of an answer, by what a server would send and receive."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": url,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    talk: Any = ApplicationCommunicator(site, scope)  # type: ignore[no-untyped-call]
    await talk.send_input({"type": "http.request", "body": b""})
    answer = await talk.receive_output(TIMEOUT)
    await talk.receive_output(TIMEOUT)
    await talk.wait(TIMEOUT)
    return int(answer["status"])


def test_queries_and_connections_have_the_vendor(connect: Connect) -> None:
    """What Django does to connect is no query; the application's queries are, once each."""
    connection = connect()
    for _ in range(3):
        assert execute(connection, "SELECT 7") == [(7,)]
    assert value(connection.alias, "execute_total") == 3
    assert value(connection.alias, "query_duration_seconds_count") == 3
    assert value(connection.alias, "new_connections_total") == 1
    assert value(connection.alias, "new_connection_errors_total") == 0
    assert errors(connection.alias) == {}


@pytest.mark.usefixtures("table")
def test_an_error_has_the_class_of_the_driver(connect: Connect) -> None:
    """The driver's class says more than Django's: which constraint it was."""
    connection = connect()
    execute(connection, "INSERT INTO numbers VALUES (1)")
    with pytest.raises(IntegrityError):
        execute(connection, "INSERT INTO numbers VALUES (1)")
    assert errors(connection.alias) == {"UniqueViolation": 1}
    assert value(connection.alias, "execute_total") == 2


@pytest.mark.usefixtures("table")
def test_executemany_takes_a_generator(connect: Connect) -> None:
    """Bulk statements count by their parameters, which the driver takes one by one."""
    connection = connect()
    with connection.cursor() as cursor:
        statement = "INSERT INTO numbers VALUES (%s)"
        cursor.executemany(statement, ([each] for each in range(100)))
        assert cursor.rowcount == 100
    assert value(connection.alias, "execute_many_total") == 100
    assert value(connection.alias, "execute_total") == 100
    assert value(connection.alias, "query_duration_seconds_count") == 1
    assert execute(connection, "SELECT sum(number) FROM numbers") == [(4950,)]


def test_iterator_is_one_query(connect: Connect) -> None:
    """A queryset's iterator uses a server-side cursor: one query, however many fetches."""
    connection = connect()
    alias = connection.alias
    with connection.schema_editor() as editor:
        editor.create_model(Product)
    try:
        names = [f"Cup {number}" for number in range(50)]
        products = (Product(name=name, price=1) for name in names)
        Product.objects.using(alias).bulk_create(products)
        before = value(alias, "execute_total") or 0
        products_again = Product.objects.using(alias).order_by("pk")
        assert [each.name for each in products_again.iterator(chunk_size=10)] == names
        assert value(alias, "execute_total") == before + 1
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Product)


def test_a_server_side_cursor_is_timed_while_it_is_declared(connect: Connect) -> None:
    """The time of a query is that of execute: all of it, or for a named cursor its beginning."""
    connection = connect()
    slow = "SELECT 'slept' FROM pg_sleep(0.2)"
    with transaction.atomic(connection.alias), connection.chunked_cursor() as cursor:
        cursor.execute(slow)
        assert cursor.fetchall() == [("slept",)]
    assert value(connection.alias, "query_duration_seconds_count") == 1
    declared = value(connection.alias, "query_duration_seconds_sum") or 0
    assert 0 < declared < 0.2
    execute(connection, slow)
    assert (value(connection.alias, "query_duration_seconds_sum") or 0) - declared >= 0.2


@has_pools
def test_a_pool_hands_out_few_connections_many_times(connect: Connect) -> None:
    """A checkout is no new connection, unless the pool had to open one that was not seen yet."""
    connection = connect(OPTIONS={"pool": {"min_size": 1, "max_size": 2}})
    alias = connection.alias
    backends = set()
    for _ in range(10):
        backends.update(execute(connection, "SELECT pg_backend_pid()"))
        connection.close()
    assert value(alias, "new_connections_total") == len(backends) <= 2

    both = Barrier(2, timeout=TIMEOUT)

    def work(_: int) -> None:
        own = connections[alias]
        for _ in range(5):
            own.ensure_connection()
            both.wait()
            execute(own, "SELECT 1")
            own.close()
            both.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, range(2)))
    assert value(alias, "new_connections_total") == 2
    assert value(alias, "execute_total") == 10 + 10


@has_pools
def test_an_exhausted_pool_is_a_connection_error(connect: Connect) -> None:
    """Waiting in vain for a pool is seen where failed connections are."""
    connection = connect(OPTIONS={"pool": {"min_size": 1, "max_size": 1, "timeout": 0.1}})
    connection.ensure_connection()
    second = connection.copy()
    with pytest.raises(OperationalError):
        second.ensure_connection()
    assert value(connection.alias, "new_connection_errors_total") == 1
    assert value(connection.alias, "new_connections_total") == 1


def test_a_server_that_stops_is_seen(connect: Connect, server: Server) -> None:
    """Queries fail by type, then connections; when the server is back, so are the numbers."""
    connection = connect()
    alias = connection.alias
    execute(connection, "SELECT 1")
    server.stop()
    try:
        with pytest.raises(OperationalError):
            execute(connection, "SELECT 1")
        failed = errors(alias)
        assert sum(failed.values()) == 1
        assert set(failed) <= {"AdminShutdown", "OperationalError"}
        assert value(alias, "new_connection_errors_total") == 0
        connection.close()
        for _ in range(2):
            with pytest.raises(OperationalError):
                execute(connection, "SELECT 1")
        assert value(alias, "new_connection_errors_total") == 2
        assert value(alias, "execute_total") == 2
        assert errors(alias) == failed
    finally:
        server.start()
    execute(connection, "SELECT 1")
    assert value(alias, "execute_total") == 3
    assert value(alias, "new_connections_total") == 2


@pytest.mark.parametrize("atomic", [False, True], ids=["autocommit", "atomic"])
def test_requests_under_asgi_know_their_queries_by_view(
    connect: Connect, settings: LazySettings, atomic: bool
) -> None:
    """Sync views run at once in threads of their own, and each has its own queries counted."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = MIDDLEWARE
    alias = connect(ATOMIC_REQUESTS=atomic).alias
    views = ("few", "many")
    before = {view: by_view("database_queries_sum", f"{view}_queries") for view in views}
    seconds = by_view("database_seconds_total", "many_queries")
    site = ASGIHandler()

    async def visit_all() -> list[int]:
        return await asyncio.gather(*(visit(site, f"/{view}/{alias}") for view in views * 2))

    assert asyncio.run(visit_all()) == [200] * 4
    after = {view: by_view("database_queries_sum", f"{view}_queries") for view in views}
    assert {view: after[view] - before[view] for view in views} == {"few": 6, "many": 60}
    assert by_view("database_seconds_total", "many_queries") > seconds
    assert value(alias, "execute_total") == 66
    assert value(alias, "new_connections_total") == 4


@pytest.mark.usefixtures("table")
def test_a_request_that_is_rolled_back_had_its_queries(
    connect: Connect, settings: LazySettings
) -> None:
    """With ATOMIC_REQUESTS a failed view leaves no rows, and its queries were made all the same."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = MIDDLEWARE
    connection = connect(ATOMIC_REQUESTS=True)
    before = by_view("database_queries_sum", "writes_and_fails")
    assert asyncio.run(visit(ASGIHandler(), f"/fails/{connection.alias}")) == 500
    assert by_view("database_queries_sum", "writes_and_fails") == before + 1
    assert value(connection.alias, "execute_total") == 1
    assert errors(connection.alias) == {}
    assert execute(connection, "SELECT count(*) FROM numbers") == [(0,)]
