"""Collectors and a real PostgreSQL: limits, one connection, a server that is down, and proxies."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction
from pytest_django import DjangoDbBlocker

from metrics_commands.collectors import databases, sessions
from metrics_commands.collectors.database import DatabaseCollector
from metrics_commands.collectors.databases import kept_connections
from metrics_commands.collectors.models import count_rows
from metrics_commands.collectors.registry import Surroundings
from project.shop.models import Product
from tests.collectors.gathers import Scrapes, make_set, scrape, succeeded
from tests.processes import clean_environment, exporter, sample, wait_until
from tests.processes import scrape as scrape_url

from .asked import ALIAS, ask, configuring, leave_atomic, leave_autocommit, leave_begun, run, show
from .postgresql import USER, Server, postgresql

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runmetrics'"
CLIENTS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
SETTINGS = """
from project.settings import *
import json, os

DATABASES = {"default": json.loads(os.environ["TEST_DATABASE"])}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Yield a server that runs."""
    with postgresql() as running:
        yield running


@pytest.fixture
def configure(
    server: Server, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[..., None]]:
    """Yield a function that changes the database's settings."""
    with django_db_blocker.unblock(), configuring(server.settings, monkeypatch) as change:
        yield change


@pytest.fixture
def watcher(server: Server) -> Iterator[psycopg.Connection]:
    """Yield a connection that looks on."""
    conninfo = f"host=127.0.0.1 port={server.port} user={USER} dbname=postgres"
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


def look(watcher: psycopg.Connection, sql: str) -> Any:
    """Return the one value that somebody else's query finds."""
    found = watcher.execute(sql.encode()).fetchone()
    assert found is not None
    return found[0]


def test_twenty_collectors_have_one_connection(
    configure: Callable[..., None], watcher: psycopg.Connection
) -> None:
    """Never more than one at a time, the same from scrape to scrape, and none at the end."""
    backends: set[int] = set()

    def count() -> float:
        backends.add(ask("SELECT pg_backend_pid()"))
        return float(ask(f"SELECT ({OURS}) FROM pg_sleep(0.01)"))

    names = [f"number_{number}" for number in range(20)]
    collectors = make_set(**{name: show(name, count) for name in names})
    with kept_connections():
        for _ in range(3):
            samples = scrape(collectors)
            assert [sample(samples, name) for name in names] == [1.0] * 20
        assert len(backends) == 1
        assert look(watcher, OURS) == 1
    assert wait_until(lambda: look(watcher, OURS) == 0)
    # Where nobody keeps it, as in a web process, it goes with the run.
    assert run(lambda: ask("SELECT 1"))
    assert wait_until(lambda: look(watcher, OURS) == 0)


def test_the_server_ends_a_query_that_sleeps(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query fails by the server's own clock; the connection is good for the next one."""
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 1)
    problems: list[str] = []

    def sleep() -> float:
        try:
            return float(ask("SELECT 1 FROM pg_sleep(60)"))
        except Exception as error:
            problems.append(str(error))
            raise

    with kept_connections():
        assert not succeeded(scrape(make_set(sleeps=show("sleeps", sleep)), 20.0), "sleeps")
        assert run(lambda: ask("SELECT 1"))
    assert "statement timeout" in problems[0]


def test_a_collector_may_take_more_time_for_one_query(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a transaction the limit can be another one, which ends with it."""
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 1)

    def wait() -> bool:
        with transaction.atomic(ALIAS):
            connections[ALIAS].cursor().execute("SET LOCAL statement_timeout = '30s'")
            assert ask("SELECT 1 FROM pg_sleep(1.2)") == 1
        return bool(ask("SHOW statement_timeout") == "1s")

    assert run(wait)


def test_queries_that_hang_cost_the_others_no_scrape(
    configure: Callable[..., None], watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eighty collectors that share a connection ten hang, each time; the others are served.

    All times are two fifths of the real ones.
    """
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 2)
    monkeypatch.setattr(databases, "QUICK_SECONDS", 0.2)
    seconds = [60]

    def hang() -> float:
        connections[ALIAS].ensure_connection()
        return float(ask(f"SELECT 1 FROM pg_sleep({seconds[0]})"))

    hanging = {f"hanging_{i}": show(f"hanging_{i}", hang) for i in range(10)}
    good = {f"good_{i}": show(f"good_{i}", lambda: ask(f"SELECT ({OURS})")) for i in range(70)}
    # The worst order there is.
    collectors = make_set(**hanging, **good)
    with kept_connections():
        scrape(collectors, 3.8)
        try:
            for _ in range(2):
                samples = scrape(collectors, 3.8)
                assert [sample(samples, name) for name in good] == [1.0] * 70
                assert not any(succeeded(samples, name) for name in hanging)
                assert look(watcher, OURS) == 1
        finally:
            seconds[0] = 0
            names = (*hanging, *good)
            wait_until(lambda: all(succeeded(scrape(collectors, 3.8), name) for name in names))


def leave_broken() -> None:
    """Leave a transaction that accepts no query."""
    leave_atomic()
    with suppress(Exception):
        ask("SELECT 1 / 0")


@pytest.mark.parametrize("leave", [leave_atomic, leave_autocommit, leave_begun, leave_broken])
def test_what_a_collector_leaves_open_is_rolled_back(
    configure: Callable[..., None], watcher: psycopg.Connection, leave: Callable[[], None]
) -> None:
    """The next one finds no transaction, and the server none that waits."""

    def spoil() -> bool:
        leave()
        with suppress(Exception):
            ask("SELECT pg_advisory_lock_shared(1)")
        return True

    open_transactions = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
    with kept_connections():
        assert run(spoil)
        # A server learns of a client's end a little later.
        assert wait_until(lambda: look(watcher, open_transactions) == 0)
        assert run(lambda: connections[ALIAS].get_autocommit() and ask("SELECT 1"))
        assert wait_until(lambda: look(watcher, OURS) == 1)


def test_nothing_is_written_and_own_options_stay(configure: Callable[..., None]) -> None:
    """What the project asks of its connections holds here too, but for the exporter's limits."""
    own = {"options": "-c search_path=pg_catalog -c statement_timeout=0", "application_name": "web"}
    configure(OPTIONS=own, CONN_MAX_AGE=0, AUTOCOMMIT=False)
    shown: list[Any] = []

    def read() -> bool:
        names = (
            "search_path", "application_name", "statement_timeout", "default_transaction_read_only"
        )  # fmt: skip
        shown.extend(ask(f"SHOW {name}") for name in names)
        return bool(connections[ALIAS].get_autocommit())

    assert run(read)
    assert shown == ["pg_catalog", "runmetrics", "5s", "on"]
    assert not run(lambda: ask("CREATE TABLE pets (name text)"))
    assert connections.settings[ALIAS]["OPTIONS"] == own


@pytest.mark.parametrize("pool", [True, {"min_size": 3}])
def test_a_pool_of_the_project_is_not_used(
    configure: Callable[..., None], watcher: psycopg.Connection, pool: object
) -> None:
    """The exporter has one connection also where each worker has several."""
    configure(OPTIONS={"pool": pool})
    with kept_connections():
        assert run(lambda: ask("SELECT 1"))
        assert look(watcher, OURS) == 1


class Proxy(socketserver.BaseRequestHandler):
    """Refuse what pgbouncer refuses; hand on all the rest."""

    refusal = b"unsupported startup parameter: options"

    def handle(self) -> None:
        size = self.request.recv(4)
        packet = size + self.request.recv(struct.unpack("!I", size)[0] - 4)
        if struct.unpack("!II", packet[:8]) == (8, 80877103):
            # It has no TLS.
            self.request.sendall(b"N")
            size = self.request.recv(4)
            packet = size + self.request.recv(struct.unpack("!I", size)[0] - 4)
        if b"\0options\0" in packet:
            message = b"SFATAL\0C08P01\0M" + self.refusal + b"\0\0"
            self.request.sendall(b"E" + struct.pack("!I", len(message) + 4) + message)
            return
        port: int = self.server.upstream  # type: ignore[attr-defined]
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            upstream.sendall(packet)
            back = threading.Thread(target=self.copy, args=(upstream, self.request))
            back.start()
            self.copy(self.request, upstream)
            back.join(60)

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        """Hand on one direction until it ends."""
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(upstream: int) -> Iterator[int]:
    """Run a proxy; yield its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as serving:
        vars(serving)["upstream"] = upstream
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield serving.server_address[1]
        finally:
            serving.shutdown()
            thread.join(60)


def test_what_refuses_options_is_asked_without(
    configure: Callable[..., None], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind such a pooler there are numbers, no limits, no SET, and one line in the log."""
    shown: list[Any] = []

    def read() -> bool:
        names = ("application_name", "statement_timeout", "default_transaction_read_only")
        shown.append([ask(f"SHOW {name}") for name in names])
        return True

    with proxy(server.port) as port:
        configure(PORT=str(port))
        for _ in range(2):
            assert run(read)
    assert shown == [["runmetrics", "0", "off"]] * 2
    [record] = caplog.records
    assert "Database served is asked without time limits" in record.getMessage()


def test_a_server_that_stops_in_the_middle_heals(
    configure: Callable[..., None],
    server: Server,
    watcher: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page is there without what was asked for, and complete when the server is back."""
    # The first query lasts until the server stops, and the later ones do not wait.
    seconds = iter([60])
    collectors = make_set(
        asks=show("asks", lambda: ask(f"SELECT 1 FROM pg_sleep({next(seconds, 0)})")),
        plain=show("plain", lambda: 1),
    )
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 60)
    with kept_connections():
        assert run(lambda: ask("SELECT 1"))
        scrapes = Scrapes(collectors)
        scrapes.begin("asks")
        asleep = f"{OURS} AND wait_event = 'PgSleep'"
        wait_until(lambda: look(watcher, asleep) == 1)
        server.stop()
        try:
            [gathered] = scrapes.end()
            assert gathered.complete
            samples = scrape(collectors)
            assert sample(samples, "plain") == 1
            assert not succeeded(samples, "asks")
        finally:
            server.start()
        assert run(lambda: ask("SELECT 1"))
        assert succeeded(scrape(collectors), "asks")


def test_connections_are_shown_against_their_limit(
    configure: Callable[..., None], watcher: psycopg.Connection
) -> None:
    """Clients are counted, the watcher and the exporter itself, whoever the exporter's user is."""
    watcher.execute("DROP ROLE IF EXISTS stranger")
    watcher.execute("CREATE ROLE stranger LOGIN")
    try:
        for user in (USER, "stranger"):
            configure(USER=user)
            # A server learns of the end of those before us a little later.
            wait_until(lambda: look(watcher, CLIENTS) == 1)
            families = {each.name: each for each in DatabaseCollector(Surroundings()).collect()}
            values = {
                name: [sample.value for sample in family.samples]
                for name, family in families.items()
            }
            assert values["django_database_up"] == [1]
            assert values["django_database_connections"] == [2]
            assert values["django_database_max_connections"] == [20]
            [version] = families["django_database_info"].samples
            assert version.labels["version"] == look(watcher, "SHOW server_version").split()[0]
    finally:
        watcher.execute("DROP ROLE stranger")


def test_large_tables_are_estimated(
    configure: Callable[..., None], watcher: psycopg.Connection
) -> None:
    """From a size on PostgreSQL's own estimate is shown, below it the count."""
    table = Product._meta.db_table
    watcher.execute(f"CREATE TABLE {table} (id int)".encode())
    watcher.execute(f"INSERT INTO {table} SELECT generate_series(1, 100)".encode())
    try:
        counted: list[float] = []

        def count() -> bool:
            counted.extend(count_rows(Product, ALIAS, most_exact) for most_exact in (100, 101))
            return True

        assert run(count)
        watcher.execute(f"ANALYZE {table}".encode())
        watcher.execute(f"INSERT INTO {table} VALUES (101)".encode())
        assert run(count)
        assert counted == [100, 100, 100, 101]
    finally:
        watcher.execute(f"DROP TABLE {table}".encode())


def test_an_exporter_that_starts_before_its_database_heals(tmp_path: Path, server: Server) -> None:
    """Down it is 0 on a page that is there; up and without tables it is 1, and so says the log."""
    (tmp_path / "unmigrated.py").write_text(SETTINGS)
    environment = clean_environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="unmigrated",
        PYTHONPATH=str(tmp_path),
        TEST_DATABASE=json.dumps(server.settings()),
        PROMETHEUS_METRICS_COUNTED_MODELS="shop.Product",
    )
    name = "django_database_up"
    server.stop()
    try:
        with exporter(environment) as (process, url):
            samples = scrape_url(url)
            assert sample(samples, name, alias="default") == 0
            assert succeeded(samples, "database")
            assert not succeeded(samples, "migrations")
            assert not succeeded(samples, "models")
            server.start()
            wait_until(lambda: sample(scrape_url(url), name, alias="default"))
            process.wait_for("The database default answers again")
    finally:
        server.stop()
        server.start()
