"""Collectors of the project's own: what a function may return, and what may be wrong with one."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from inspect import currentframe
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.db import connection
from django.db.models import Count, Max, Sum
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric

from metrics_commands.collectors import collector
from metrics_commands.collectors.declaration import DECLARATIONS, Declaration
from metrics_commands.collectors.declared import Declared, load_declared
from metrics_commands.collectors.mistakes import find_mistakes
from metrics_commands.collectors.registry import CollectorSet, Surroundings, make_collectors
from metrics_commands.collectors.rows import MOST_ROWS, Shape
from metrics_commands.exposition.encoding import encode
from metrics_commands.management.watch import make_watched
from project.shop import collectors as shop
from project.shop.models import Order, Product
from tests.collectors.gathers import gauge, scrape, succeeded
from tests.processes import ROOT, parse_samples, sample

Install = Callable[..., Declared]

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
MANY = MOST_ROWS + 1
# Before Python 3.11 a decorator is called in the line of the def below.
LINE = 3 if sys.version_info >= (3, 11) else 4


@pytest.fixture(autouse=True)
def _only_what_a_test_declares() -> Iterator[None]:
    """Put aside what is declared elsewhere; the shop's has been, when this file imported it."""
    before = DECLARATIONS[:]
    DECLARATIONS.clear()
    yield
    DECLARATIONS[:] = before


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install apps with the given ``collectors.py``, and load what they declare."""
    monkeypatch.syspath_prepend(tmp_path)
    with ExitStack() as stack:

        def load(**sources: str) -> Declared:
            for name, source in sources.items():
                (tmp_path / name).mkdir()
                (tmp_path / name / "__init__.py").touch()
                beginning = "from metrics_commands.collectors import collector\n"
                (tmp_path / name / "collectors.py").write_text(beginning + dedent(source))
            stack.enter_context(override_settings(INSTALLED_APPS=list(sources)))
            return load_declared()

        yield load
    for name in [each for each in sys.modules if each.partition(".")[0].startswith("own_")]:
        del sys.modules[name]


def make(declared: Declared) -> CollectorSet:
    """Make the collectors that were declared."""
    return make_collectors(declared.collectors, Surroundings(), declared.collectors)


def collect(function: Callable[[], object], name: str = "shown", **options: Any) -> list[Metric]:
    """Declare a function, and return what it yields as a collector, in this very thread."""
    collector(name=name, **options)(function)
    declared = load_declared()
    assert declared.problems == []
    return list(declared.collectors[name].collect())


def read(families: list[Metric]) -> dict[Any, float]:
    """Return the samples that a page has of families, by name and label values in order."""
    return {
        (name, *(value for _, value in sorted(labels))): number
        for (name, labels), number in parse_samples(encode(families).decode()).items()
    }


@pytest.mark.parametrize(
    ("found", "number"),
    [
        (3, 3),
        (0, 0),
        (-2.5, -2.5),
        (True, 1),
        (Decimal("12.50"), 12.5),
        (timedelta(minutes=1.5), 90),
        (NOON, NOON.timestamp()),
    ],
    ids=repr,
)
def test_a_number_is_a_metric(found: object, number: float) -> None:
    """Whatever a database calls a number is shown in Prometheus' base units."""
    assert read(collect(lambda: found)) == {("shown",): number}


@pytest.mark.parametrize("found", [None, {}, [], {"a": None}, [("a", None)]], ids=repr)
def test_nothing_is_no_sample(found: object) -> None:
    """The sum of an empty table is not 0 by itself; whoever wants that writes it."""
    labels = "status" if found else ()
    assert collect(lambda: found, labels=labels) == []


def yield_rows() -> Iterator[tuple[str, int]]:
    """Yield rows."""
    yield "paid", 1
    yield "open", 2


def yield_rows_and_families() -> Iterator[object]:
    """Yield rows, and families between them."""
    yield "paid", 1
    yield gauge("other", 5)
    yield "open", 2


BY_STATUS = {("shown", "paid"): 1, ("shown", "open"): 2}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: {"paid": 1, "open": 2}, BY_STATUS),
        (lambda: {("paid",): 1, ("open",): 2}, BY_STATUS),
        (lambda: [("paid", 1), ["open", 2]], BY_STATUS),
        (lambda: [{"status": "paid", "n": 1}, {"status": "open", "n": 2}], BY_STATUS),
        (lambda: {"paid": 1, "open": 2, "lost": None}, BY_STATUS),
        (lambda: {1: 1, None: 3}, {("shown", "1"): 1, ("shown", "None"): 3}),
        (yield_rows, BY_STATUS),
        (yield_rows_and_families, BY_STATUS | {("other",): 5}),
        (lambda: gauge("other", 5), {("other",): 5}),
        (lambda: [gauge("a", 1), gauge("b", 2, x="y")], {("a",): 1, ("b", "y"): 2}),
    ],
)
def test_each_form_shows_the_same(function: Callable[[], object], expected: object) -> None:
    """A mapping, rows in whatever shape, and families of prometheus_client are all taken."""
    assert read(collect(function, labels="status")) == expected


def test_several_labels_stand_in_the_order_of_their_names() -> None:
    """The values of a row belong to the names that labels= has, in its order."""
    (family,) = collect(lambda: {("paid", "EUR"): 5}, labels=("status", "currency"))
    assert family.samples[0].labels == {"status": "paid", "currency": "EUR"}


@pytest.mark.django_db
def test_a_queryset_is_rows() -> None:
    """A query as one writes it anyway is a metric: aggregates, grouped values, and dictionaries."""
    tea = Product.objects.create(name="tea", price="2.50")
    Product.objects.create(name="cup", price="4")
    Order.objects.create(product=tea, quantity=3)
    Order.objects.create(product=tea, quantity=4)
    rows = Order.objects.values_list("product__name", "product__price").annotate(Sum("quantity"))
    shown = read(collect(lambda: rows, "items", labels=("product", "zone")))
    assert shown == {("items", "tea", "2.50"): 7}
    dictionaries = Product.objects.values("name").annotate(n=Count("orders"))
    shown = read(collect(lambda: dictionaries, "orders", labels="product"))
    assert shown == {("orders", "tea"): 2, ("orders", "cup"): 0}
    dearest = lambda: Product.objects.aggregate(n=Max("price"))["n"]  # noqa: E731
    assert read(collect(dearest, "price")) == {("price",): 4}


@pytest.mark.django_db
def test_the_shop_shows_what_its_database_knows() -> None:
    """The example that ships works as it stands, on an empty database as well."""
    empty = collect(shop.shop_products_never_ordered, "never")
    assert read(empty) == {("never",): 0}
    assert collect(shop.shop_last_order_timestamp_seconds, "last") == []
    tea = Product.objects.create(name="tea", price="2.50")
    Product.objects.create(name="cup", price="4")
    order = Order.objects.create(product=tea, quantity=3)
    assert read(collect(shop.shop_products_never_ordered, "never_2")) == {("never_2",): 1}
    last = read(collect(shop.shop_last_order_timestamp_seconds, "last_2"))
    assert last == {("last_2",): order.placed_at.timestamp()}
    items = read(collect(shop.shop_ordered_items, "items", labels="product"))
    assert items == {("items", "tea"): 3}


@pytest.mark.django_db
def test_a_database_never_sends_more_rows_than_are_shown() -> None:
    """A query over a whole table by mistake costs the exporter no memory."""
    query = Product.objects.values_list("name", "price")
    with CaptureQueriesContext(connection) as queries:
        collect(lambda: query, labels="name")
    assert [each["sql"].endswith(f"LIMIT {MANY}") for each in queries] == [True]


def test_type_and_help_come_from_the_function() -> None:
    """A name in _total is a counter's; HELP is the docstring's first line, or says whose it is."""

    @collector
    def payments_total() -> int:
        """Payments so far.

        Counted where they are.
        """
        return 5

    @collector()
    def debts() -> int:
        return 5

    page = encode(
        [each for one in load_declared().collectors.values() for each in one.collect()]
    ).decode()
    assert "# HELP payments_total Payments so far.\n# TYPE payments_total counter\n" in page
    assert f"# HELP debts What debts of {__name__} finds.\n# TYPE debts gauge\n" in page


async def asynchronous() -> int:
    return 1


@pytest.mark.parametrize(
    ("function", "labels", "said"),
    [
        (lambda: "12", (), "'12' is not a number"),
        (lambda: b"12", (), "is not a number"),
        (lambda: object, (), "is not a number"),
        (lambda: {"paid": "many"}, "status", "'many' is not a number"),
        (lambda: {"paid": 1}, (), "should be (number): the collector names no labels"),
        (lambda: [5], (), "a row is 5, and should be (number): the collector names no labels"),
        (lambda: 5, "status", "a row is (5,), and should be (status, number)"),
        (lambda: [5, 6], "status", "a row is 5, and should be (status, number)"),
        (lambda: {("a", "b"): 1}, "status", "and should be (status, number)"),
        (lambda: [("a", 1), ("a", 2)], "status", "two rows have the label values ('a',)"),
        (lambda: {1: 1, "1": 2}, "status", "two rows have the label values ('1',)"),
        (lambda: ((i, i) for i in count()), "number", f"more than {MOST_ROWS} rows"),
        (lambda: 10**400, (), "too large"),
        (lambda: 1 // 0, (), "division by zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_fails_whole(
    function: Callable[[], object],
    labels: object,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says what is wrong, nothing is shown by half, and others lose nothing."""
    collector(name="bad", labels=labels)(function)  # type: ignore[call-overload]
    collector(name="good")(lambda: 1)
    samples = scrape(make(load_declared()))
    assert (succeeded(samples, "bad"), succeeded(samples, "good")) == (False, True)
    assert [key for key in samples if key[0] == "bad"] == []
    assert said in caplog.text


def test_what_fails_at_a_scrape_is_told_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Of what a function returned, and of a name that it may not have, no traceback has a line."""
    here = currentframe()
    assert here
    collector(name="bad")(lambda: "12")
    collector(name="python_info")(lambda: 1)
    lines = (here.f_lineno - 2, here.f_lineno - 1)
    declared = load_declared()
    names = ("platform", *declared.collectors)
    samples = scrape(make_watched(names, Surroundings(), declared.collectors))
    assert [succeeded(samples, name) for name in names] == [True, False, False]
    failed, clashed = (each.getMessage() for each in caplog.records)
    assert failed.startswith(f"Collector bad ({__file__}:{lines[0]}) failed")
    assert clashed.startswith(f"Collector python_info ({__file__}:{lines[1]}) yields families of")


def takes(argument: object) -> int:
    return 1


async def yields() -> Any:
    yield 1


def plain() -> int:
    return 1


class Callable1:
    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (asynchronous, {}, "is async"),
        (yields, {}, "is async"),
        (takes, {}, "wants arguments"),
        (5, {"name": "five"}, "is not a function"),
        (Callable1(), {"name": "one"}, "is not a function"),
        (Callable1, {}, "is not a function"),
        (plain, {"name": "open-orders"}, "should have a name of letters"),
        (plain, {"name": "größe"}, "should have a name of letters"),
        (plain, {"name": "name\n"}, "should have a name of letters"),
        (plain, {"name": "__name"}, "should have a name of letters"),
        (plain, {"name": ""}, "should have a name of letters"),
        (plain, {"name": ["a"]}, "should have a name of letters"),
        (lambda: 1, {}, "should have a name of letters"),
        (plain, {"interval": 0}, "has the interval 0, which should be a number of seconds"),
        (plain, {"interval": "60"}, "has the interval '60'"),
        (plain, {"interval": True}, "has the interval True"),
        (plain, {"interval": timedelta(1)}, "has the interval datetime.timedelta(days=1)"),
        (plain, {"timeout": -1}, "has the timeout -1"),
        (plain, {"timeout": float("inf")}, "has the timeout inf"),
        (plain, {"timeout": float("nan")}, "has the timeout nan"),
        (plain, {"labels": ["le"]}, "has the label 'le', which means something else"),
        (plain, {"labels": "quantile"}, "has the label 'quantile', which means something else"),
        (plain, {"labels": ["__a"]}, "has the label '__a', which should be of letters"),
        (plain, {"labels": ["a-b"]}, "has the label 'a-b'"),
        (plain, {"labels": [1]}, "has the label 1"),
        (plain, {"labels": [[]]}, "has the label []"),
        (plain, {"labels": ["a", "a"]}, "has the label 'a' more than once"),
        (plain, {"labels": {"a"}}, "has the labels {'a'}, which should be a list of names"),
        (plain, {"labels": None}, "has the labels None"),
        (plain, {"timeout": 0, "labels": 5}, "0 and has the labels 5"),
        (plain, {"every": 5}, "'every', but @collector takes only name, interval, timeout and"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_costs_only_itself(
    function: Any, options: dict[str, Any], said: str
) -> None:
    """A wrong declaration never raises where it stands; the exporter serves all the others."""
    here = currentframe()
    assert here
    assert collector(**options)(function) is function
    line = here.f_lineno - 1
    collector(name="good")(lambda: 1)
    declared = load_declared()
    (problem,) = declared.problems
    assert problem.place == f"{__file__}:{line}"
    assert said in problem.what
    assert problem.what.endswith(".")
    samples = scrape(make(declared))
    (bad,) = set(declared.collectors) - {"good"}
    assert (succeeded(samples, bad), succeeded(samples, "good")) == (False, True)


def anything() -> st.SearchStrategy[object]:
    """Return what somebody may write by mistake."""
    plain_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    return plain_values | st.lists(plain_values, max_size=3)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(Declaration, st.just(plain), *[anything()] * 4, *map(st.just, ("shop", "a.py", 5)))
)
def test_any_declaration_can_be_judged(declaration: Declaration) -> None:
    """Whatever stands in the decorator, the exporter starts, and says what is wrong if anything."""
    declared = Declared()
    declared.add(declaration)
    mistakes = list(find_mistakes(declaration))
    assert [str(each).isprintable() for each in declared.problems] == ([True] if mistakes else [])
    assert len(declared.collectors) == 1


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats(allow_nan=False)))
def test_any_label_value_comes_back_from_the_page(numbers: dict[str, float]) -> None:
    """No text in a database can break the page."""
    page = encode(Shape("shown", "Help.", ("text",)).show(numbers)).decode()
    shown = {dict(labels)["text"]: number for (_, labels), number in parse_samples(page).items()}
    assert shown == numbers


def test_of_two_with_one_name_the_first_wins(install: Install) -> None:
    """Neither a built-in collector nor another app's can be replaced by accident."""
    source = """
        @collector
        def orders():
            return {number}
        """
    gc = """
        @collector
        def gc():
            return 3
        """
    declared = install(
        own_a=source.format(number=1), own_b=source.format(number=2), own_c=gc, own_d=gc
    )
    samples = scrape(make(declared))
    assert sample(samples, "orders") == 1
    assert sample(samples, "gc") is None
    refused = tuple(f"own_{each}.collectors:{LINE}" for each in "bcd")
    assert list(declared.collectors) == ["orders", *refused]
    assert [succeeded(samples, name) for name in declared.collectors] == [True, False, False, False]
    other, *built_in = map(str, declared.problems)
    places = [f"/own_{each}/collectors.py:{LINE}" for each in "ba"]
    pattern = r"\S+{}: collector 'orders' has the name of the one at \S+{}\."
    assert re.fullmatch(pattern.format(*places), other)
    assert all("has the name of a built-in one" in each for each in built_in)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("pair", "pair_total", "pair"),
        ("pair_total", "pair", "pair"),
        ("pair_total", "pair_created", "pair_created"),
    ],
)
def test_of_two_with_one_metric_the_first_wins(first: str, second: str, name: str) -> None:
    """A counter's name goes on with ``_total``, so two collectors can be one family."""
    collector(name=first)(plain)
    for each in (second, "pair_other_total", "pair_info"):
        collector(name=each)(plain)
    declared = load_declared()
    (problem,) = declared.problems
    there = declared.collectors[first].place
    assert problem.place != there
    what = f"collector {second!r} takes the metric's name {name}, as the one at {there} does."
    assert problem.what == what
    assert list(declared.collectors) == [first, second, "pair_other_total", "pair_info"]
    samples = scrape(make(declared))
    assert sample(samples, first) == 1
    fared = [succeeded(samples, each) for each in declared.collectors]
    assert fared == [True, False, True, True]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("import no_such_thing", "ModuleNotFoundError \"No module named 'no_such_thing'\""),
        ("1 // 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit('gone')", "SystemExit 'gone'"),
        ("collector('name')(len)", "TypeError"),
    ],
)
def test_a_module_that_fails_costs_only_itself(install: Install, end: str, said: str) -> None:
    """The line is told, the page says that something is missing, and other apps lose nothing."""
    good = "@collector\ndef good():\n    return 1\n"
    half = "@collector\ndef half():\n    return 1\n"
    declared = install(own_bad=half + end, own_good=good)
    for _ in range(2):
        (problem,) = declared.problems
        assert problem.place.endswith("own_bad/collectors.py:5")
        assert problem.what.startswith("own_bad.collectors cannot be imported: ")
        assert said in problem.what
        assert list(declared.collectors) == ["good", "own_bad.collectors"]
        samples = scrape(make(declared))
        assert sample(samples, "good") == 1
        assert not succeeded(samples, "own_bad.collectors")
        declared = load_declared()


def test_functions_in_other_modules_are_found_once(install: Install, tmp_path: Path) -> None:
    """What grows may go into modules that several ``collectors.py`` import."""
    (tmp_path / "own_shared.py").write_text(
        "from metrics_commands.collectors import collector\n@collector\ndef shared():\n  return 4\n"
    )
    declared = install(own_a="import own_shared", own_b="from own_shared import shared")
    assert list(declared.collectors) == ["shared"]
    assert sample(scrape(make(declared)), "shared") == 4


def test_a_function_stays_a_function() -> None:
    """A test of the project, or a view, calls it as if nothing stood above it."""
    assert collector(plain) is plain
    assert collector(interval=60)(plain) is plain
    assert plain() == 1


def test_interval_and_timeout_reach_the_exporter(caplog: pytest.LogCaptureFixture) -> None:
    """With an interval a function is called once for many scrapes, and its age is told."""
    caplog.set_level(logging.ERROR, logger="metrics_commands")
    calls = count(1)
    collector(name="seldom", interval=60, timeout=5)(lambda: next(calls))
    collector(name="often")(lambda: 1)
    collectors = make(load_declared())
    shown = [scrape(collectors) for _ in range(3)]
    assert [sample(each, "seldom") for each in shown] == [1, 1, 1]
    ages = [
        sample(shown[0], "django_exporter_collector_age_seconds", collector=name)
        for name in ("seldom", "often")
    ]
    assert ages[0] is not None
    assert ages[1] is None


def test_whoever_imports_the_decorator_pays_nothing() -> None:
    """A worker that imports a collectors.py by accident loads no part of the exporter."""
    code = (
        "import sys; from metrics_commands.collectors import collector;"
        "print({'psutil', 'tornado', 'prometheus_client', 'django'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert told.stdout == b"set()\n"
