"""Collectors share one connection to each database, and none can keep the others from it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from django.db import DatabaseError, connections, transaction
from prometheus_client import Metric

from metrics_commands.collectors import databases
from metrics_commands.collectors.databases import borrowed_databases, kept_connections, lender
from metrics_commands.collectors.looks import OTHERS, Looks
from metrics_commands.collectors.registry import CollectorSet
from metrics_commands.collectors.sessions import QUERY_SECONDS, find_interruption, open_mysql
from project.shop.models import Product
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import (
    Scrapes,
    count_failures,
    gauge,
    make_set,
    read,
    scrape,
    succeeded,
)
from tests.processes import sample, wait_until

READ = "SELECT count(*) FROM sqlite_master"
# Some ten seconds.
SLOW = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 100000000)
SELECT count(*) FROM numbers
"""


def ask(alias: str, sql: str = READ) -> Any:
    """Return the one value that a query finds."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


def count_open(path: Path) -> int:
    """Return how often this process has a file open."""
    return [each.path for each in psutil.Process().open_files()].count(str(path))


def show(name: str, collect: Callable[[], float]) -> Callable[[], Iterable[Metric]]:
    """Return a collector that shows what a function returns."""
    return lambda: [gauge(name, collect())]


def test_twenty_collectors_have_one_connection(add_database: AddDatabase) -> None:
    """However many ask at once, a database sees one client, and none when they are done."""
    path = add_database("main")

    def count() -> float:
        ask("main")
        return count_open(path)

    names = [f"number_{number}" for number in range(20)]
    samples = scrape(make_set(**{name: show(name, count) for name in names}))
    assert [sample(samples, name) for name in names] == [1.0] * 20
    assert count_open(path) == 0


def test_a_collector_cannot_write(add_database: AddDatabase) -> None:
    """A mistake in a collector changes nothing; any other thread may write as before."""
    add_database("main")

    def write() -> float:
        ask("main", "CREATE TABLE pets (name)")
        return 1.0

    assert not succeeded(scrape(make_set(writer=show("writer", write))), "writer")
    assert ask("main") == (0,)
    ask("main", "CREATE TABLE pets (name)")
    assert ask("main") == (1,)


def test_a_collector_that_hangs_keeps_its_connection_alone(
    add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the others have another connection, and the late one goes on with its own."""
    path = add_database("main")
    monkeypatch.setattr(databases, "LONGEST_LOAN", 0.2)
    go, asked = threading.Event(), threading.Event()

    def hang() -> float:
        ask("main")
        asked.set()
        assert go.wait(60)
        return float(ask("main") == (0,))

    collectors = make_set(hangs=show("hangs", hang), works=show("works", lambda: ask("main")[0]))
    scrapes = Scrapes(collectors)
    scrapes.begin("hangs", 1, "hangs")
    try:
        assert asked.wait(60)
        for _ in range(3):
            assert sample(read_named(collectors, "works"), "works") == 0
            assert count_open(path) == 1
    finally:
        go.set()
    [gathered] = scrapes.end()
    assert gathered.complete
    assert count_open(path) == 0


def read_named(collectors: CollectorSet, *names: str) -> Any:
    """Return the samples of a scrape of some collectors."""
    return read(collectors.gather(names, 60.0))


def test_two_collectors_that_want_what_the_other_has_go_on(
    add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever would wait for ever has a connection of its own at once, and none is left open."""
    paths = [add_database("main"), add_database("other")]
    monkeypatch.setattr(databases, "LONGEST_LOAN", 3600.0)
    both = threading.Barrier(2, timeout=60)

    def take(first: str, second: str) -> float:
        ask(first)
        both.wait()
        ask(second)
        return 1.0

    collectors = make_set(
        forth=show("forth", lambda: take("main", "other")),
        back=show("back", lambda: take("other", "main")),
    )
    samples = scrape(collectors)
    assert succeeded(samples, "forth")
    assert succeeded(samples, "back")
    assert [count_open(path) for path in paths] == [0, 0]


def test_a_database_that_cannot_be_opened_is_given_back(
    add_database: AddDatabase, tmp_path: Path
) -> None:
    """A failure to connect keeps nobody waiting, and heals by itself."""
    add_database("main", "missing/main.sqlite3")
    names = [f"number_{number}" for number in range(3)]
    collectors = make_set(**{name: show(name, lambda: ask("main")[0]) for name in names})
    assert not any(succeeded(samples := scrape(collectors), name) for name in names), samples
    (tmp_path / "missing").mkdir()
    assert all(succeeded(samples := scrape(collectors), name) for name in names), samples


def test_a_file_that_was_replaced_is_read_anew(add_database: AddDatabase, tmp_path: Path) -> None:
    """Also an exporter that keeps connections shows the database that is there now."""
    path = add_database("main")
    collectors = make_set(tables=show("tables", lambda: ask("main")[0]))
    with kept_connections():
        assert sample(scrape(collectors), "tables") == 0
        ask("main", "CREATE TABLE pets (name)")
        connections["main"].close()
        assert sample(scrape(collectors), "tables") == 1
        path.unlink()
        assert sample(scrape(collectors), "tables") == 0


@contextmanager
def waiting(*names: str) -> Iterator[list[str]]:
    """Let some wait for a database, in this order; yield who has had it, all of them at the end."""
    served: list[str] = []

    def borrow(name: str) -> None:
        with borrowed_databases(name):
            ask("main")
            served.append(name)

    threads = [threading.Thread(target=borrow, args=(name,)) for name in names]
    for thread, name in zip(threads, names, strict=True):
        thread.start()
        wait_for_obstacle(name)
    yield served
    for thread in threads:
        thread.join(60)


def wait_for_obstacle(name: str) -> None:
    """Wait until somebody waits for a database."""
    wait_until(lambda: lender.find_obstacle(name))


def let_pass(seconds: float) -> None:
    """Wait until some time has passed."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end)


def test_the_quick_come_before_the_slow(
    add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had a database for long comes last, until it is quick; all others come as they came."""
    monkeypatch.setattr(databases, "QUICK_SECONDS", 0.1)
    add_database("main")
    for name, seconds in {"slower": 0.25, "slow": 0.12, "quick": 0.0}.items():
        with borrowed_databases(name):
            ask("main")
            let_pass(seconds)
    names = ["slower", "slow", "quick", "new", "newer"]
    for expected in (["quick", "new", "newer", "slow", "slower"], names):
        with ExitStack() as stack:
            with borrowed_databases("first"):
                ask("main")
                served = stack.enter_context(waiting(*names))
            stack.close()
            assert served == expected


def test_a_query_that_others_wait_for_is_asked_again_when_they_are_done(
    add_database: AddDatabase,
) -> None:
    """Nothing is left of the first time but that the collector is known to be slow."""
    add_database("main")
    asked = threading.Event()
    sql = iter([SLOW, READ])
    tries = []

    def take_long() -> Iterable[Metric]:
        tries.append(1)
        yield gauge("tries", len(tries))
        with connections["main"].cursor() as cursor:
            asked.set()
            cursor.execute(next(sql))

    def be_quick() -> float:
        assert asked.wait(60)
        return float(len(tries) + ask("main")[0])

    samples = scrape(make_set(long=take_long, quick=show("quick", be_quick)))
    assert succeeded(samples, "long")
    assert sample(samples, "tries") == len(tries) == 2
    assert sample(samples, "quick") == 1
    assert count_failures(samples, "long") == (0, 0, 0)


def test_who_waits_for_another_database_is_not_slow(
    add_database: AddDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes no use of the one that it has, is not interrupted, and comes first again."""
    monkeypatch.setattr(databases, "QUICK_SECONDS", 0.1)
    add_database("main")
    add_database("other")
    borrowers = []

    def take_both() -> None:
        with borrowed_databases("both", repeats=True) as borrower:
            borrowers.append(borrower)
            ask("main")
            ask("other")

    both = threading.Thread(target=take_both)
    with ExitStack() as stack:
        with borrowed_databases("first"):
            ask("other")
            both.start()
            wait_for_obstacle("both")
            stack.enter_context(waiting("quick"))
            let_pass(0.3)
        both.join(60)
    assert not borrowers[0].interrupted
    assert not lender._slow.keys() & {("both", "main"), ("both", "other")}


def test_the_log_tells_who_only_waits(
    add_database: AddDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """A collector that hangs, and one that would answer if it had the database, are told apart."""
    add_database("main")
    collectors = make_set(innocent=show("innocent", lambda: ask("main")[0]))

    def ask_main(alias: str) -> Any:
        with borrowed_databases():
            return ask(alias)

    look = Looks("tables", ask_main, 0.0)
    with borrowed_databases("hanging"):
        ask("main")
        for _ in range(2):
            assert not succeeded(scrape(collectors, 0.1), "innocent")
        wait_until(lambda: look.look(["main"])[0].complain() == OTHERS)
    [told] = [each.getMessage() for each in caplog.records]
    assert re.sub(r"[\d.]+ s", "… s", told) == (
        "Collector innocent has no answer after … s: it waits for database main behind hanging."
    )
    wait_until(lambda: succeeded(scrape(collectors), "innocent"))


def test_what_no_driver_can_interrupt_goes_on() -> None:
    """There is nothing for MySQL, nor for what is not open; psycopg2 has what psycopg had first."""

    def find(vendor: str, opened: object) -> object:
        return find_interruption(SimpleNamespace(vendor=vendor, connection=opened))  # type: ignore[arg-type]

    old = SimpleNamespace(cancel=print)
    assert find("mysql", old) is None
    assert find("postgresql", None) is None
    assert find("postgresql", old) is print


@pytest.mark.django_db(transaction=True)
def test_a_test_of_the_project_sees_its_own_database() -> None:
    """Under pytest a collector counts what a test has made, and leaves the test's database."""
    count = show("products", Product.objects.count)
    collectors = make_set(products=count)
    for number in range(2):
        assert sample(scrape(collectors), "products") == number
        Product.objects.create(name=str(number), price=1)
    assert Product.objects.count() == 2


def test_whoever_is_no_collector_has_a_connection_of_its_own(add_database: AddDatabase) -> None:
    """What is lent ends with the run; a thread that does not borrow is lent nothing."""
    add_database("main")
    lent: list[Any] = []

    def borrow() -> None:
        with borrowed_databases():
            lent.append(connections["main"])
        lent.append(connections["main"])
        lent[-1].close()

    thread = threading.Thread(target=borrow)
    thread.start()
    thread.join(60)
    own = connections["main"]
    assert len({id(each) for each in (*lent, own)}) == 3
    assert [each.allow_thread_sharing for each in (*lent, own)] == [True, False, False]
    assert own.settings_dict is connections.settings["main"]


def test_lending_begins_before_any_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter's own thread begins it; threads that come together might begin it twice."""

    def create(alias: str) -> None:
        raise AssertionError(alias)

    databases.start_lending.cache_clear()
    monkeypatch.setitem(vars(connections), "create_connection", create)
    with kept_connections():
        begun: Any = connections.create_connection
        assert begun.args == (create,)


def test_a_closed_connection_is_replaced(add_database: AddDatabase) -> None:
    """A collector may close what it was lent, in the middle of a transaction too."""
    add_database("main")

    def spoil() -> float:
        transaction.atomic("main").__enter__()
        ask("main")
        connections["main"].close()
        with suppress(DatabaseError):
            ask("main")
        return 1.0

    collectors = make_set(spoils=show("spoils", spoil))
    with kept_connections():
        scrape(collectors)
        good = make_set(tables=show("tables", lambda: ask("main")[0]))
        assert sample(scrape(good), "tables") == 0


class Session:
    """A connection to MySQL, as far as opening needs one."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.executed: list[str] = []

    def get_server_info(self) -> str:
        return self.version

    def cursor(self) -> Session:
        return self

    def execute(self, sql: str) -> None:
        self.executed.append(sql)

    def close(self) -> None:
        self.executed.append("closed")


@pytest.mark.parametrize(
    ("version", "limit"),
    [
        ("8.4.2", f"max_execution_time = {QUERY_SECONDS * 1000}"),
        ("11.4.2-MariaDB-deb12", f"max_statement_time = {QUERY_SECONDS}"),
    ],
)
def test_mysql_and_mariadb_have_limits_of_their_own(version: str, limit: str) -> None:
    """Each is told in its own words, in milliseconds or seconds, before the first query."""
    session = Session(version)
    asked: list[dict[str, Any]] = []
    parameters = {"host": "db"}
    opened = open_mysql("main", lambda given: asked.append(given) or session, parameters)  # type: ignore[func-returns-value]
    assert opened is session
    assert session.executed == [
        "SET SESSION TRANSACTION READ ONLY", f"SET SESSION {limit}", "closed"
    ]  # fmt: skip
    assert asked == [{"connect_timeout": 3, "host": "db"}]
