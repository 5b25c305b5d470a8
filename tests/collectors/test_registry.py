"""A scrape of several collectors: timed, isolated, each family once."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from django.test import override_settings
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.mmap_dict import mmap_key

from metrics_commands.collectors.registry import (
    BUILT_IN,
    OFF_BY_DEFAULT,
    CollectorSet,
    QueryError,
    Surroundings,
    choose_collectors,
    make_collectors,
)
from metrics_commands.errors import ConfigurationError
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from metrics_commands.setting import Given, Switch
from tests.collectors.gathers import (
    DURATION,
    SUCCESS,
    Simple,
    count_failures,
    gauge,
    make_set,
    scrape,
)
from tests.processes import ROOT, sample


def list_families(collectors: CollectorSet) -> list[Metric]:
    """Return the families that come as objects."""
    return [family for family in collectors.gather().families if isinstance(family, Metric)]


def fail_with_nothing() -> Iterable[Metric]:
    """Fail before the first family."""
    raise ValueError("no database")


def fail_half_way() -> Iterable[Metric]:
    """Fail after the first family."""
    yield gauge("half", 1)
    raise OSError("gone")


def give_up() -> Iterable[Metric]:
    """Fail as a script does."""
    raise SystemExit("no credentials")


def yield_no_family() -> Iterable[Metric]:
    """Yield what is no family."""
    yield None  # type: ignore[misc]


def return_nothing() -> Iterable[Metric]:
    """Forget to return."""
    return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    "bad", [fail_with_nothing, fail_half_way, give_up, yield_no_family, return_nothing]
)
def test_a_failing_collector_costs_only_itself(bad: Callable[[], Iterable[Metric]]) -> None:
    """The page tells which collector fails, and has everything of the others."""
    samples = scrape(make_set(a=lambda: [gauge("a", 1)], bad=bad, z=lambda: [gauge("z", 2)]))
    assert (sample(samples, "a"), sample(samples, "z")) == (1, 2)
    assert [sample(samples, SUCCESS, collector=name) for name in ("a", "bad", "z")] == [1, 0, 1]
    for name in ("a", "bad", "z"):
        assert 0 <= (sample(samples, DURATION, collector=name) or 0) < 30
    assert sample(samples, "half") == (1 if bad is fail_half_way else None)
    assert count_failures(samples, "bad") == (1, 0, 0)
    assert count_failures(samples, "a") == (0, 0, 0)


def test_a_failure_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A collector that fails at every scrape does not fill the log; its recovery is told."""
    caplog.set_level(logging.INFO, logger="metrics_commands")
    failing: list[bool] = []

    def collect() -> Iterable[Metric]:
        if failing[-1]:
            raise ValueError("no database")
        return []

    collectors = make_set(queue=collect)
    told = []
    for fails in (True, True, False, False, True):
        failing.append(fails)
        caplog.clear()
        collectors.gather()
        told.append([(each.levelname, each.getMessage()) for each in caplog.records])
    failed = ("ERROR", "Collector queue failed; the others are served.")
    works = ("INFO", "Collector queue works again.")
    assert told == [[failed], [], [works], [], [failed]]


def test_of_two_collectors_with_one_family_the_first_wins() -> None:
    """No family is on the page twice, and numbers of two collectors are never mixed."""
    collectors = make_set(
        a=lambda: [gauge("same", 1, worker="a")], b=lambda: [gauge("same", 2, worker="b")]
    )
    samples = scrape(collectors)
    assert sample(samples, "same", worker="a") == 1
    assert sample(samples, "same", worker="b") is None


def test_a_family_that_one_collector_yields_in_pieces_is_whole() -> None:
    """A collector that makes a family for each of its queues loses none of them at any scrape."""
    kept = [gauge("length", 1, queue="a"), gauge("length", 2, queue="b")]
    collectors = make_set(queues=lambda: [*kept, CounterMetricFamily("length", "Help.", value=3)])
    for _ in range(2):
        (family,) = [each for each in list_families(collectors) if each.name == "length"]
        assert family.type == "gauge"
        assert [(each.labels, each.value) for each in family.samples] == [
            ({"queue": "a"}, 1),
            ({"queue": "b"}, 2),
        ]


def test_families_are_sorted() -> None:
    """Two scrapes can be compared line by line."""
    collectors = make_set(a=lambda: [gauge("z", 1), gauge("b", 1)], b=lambda: [gauge("a", 1)])
    names = [family.name for family in list_families(collectors)]
    assert names == sorted(names)


def test_a_collector_that_cannot_be_made_is_told_at_every_scrape(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exporter starts without it, and the page says what is missing."""

    file = ValueFile(str(tmp_path / "gauge_max_1.db"))
    file.read_value(mmap_key("from_workers", "from_workers", [], [], "Help."))
    file.close()
    reader = DirectoryReader(tmp_path)
    collectors = make_collectors(["no_such_module", "value_files"], Surroundings("", reader))
    assert "no_such_module cannot start" in caplog.text
    samples = scrape(collectors)
    assert sample(samples, SUCCESS, collector="no_such_module") == 0
    assert sample(samples, "from_workers") == 0


@pytest.mark.django_db
def test_all_built_in_collectors_work_together() -> None:
    """A default start serves every collector, twice in a row, without a family told twice."""
    with override_settings(INSTALLED_APPS=["metrics_commands"]):
        collectors = make_collectors(BUILT_IN, Surroundings("shop"))
    for _ in range(2):
        samples = scrape(collectors)
        successes = {name: sample(samples, SUCCESS, collector=name) for name in BUILT_IN}
        assert successes == dict.fromkeys(BUILT_IN, 1)
    names = {name for name, _ in samples}
    assert {"shop_system_usage", "python_info", "django_exporter_build_info"} <= names
    assert {"process_cpu_seconds_total", "python_gc_collections_total"} <= names


def switch(**states: bool) -> dict[str, Switch]:
    """Return switches, as if given by options."""
    return {name: Switch(on, Given("option", "--collector", name)) for name, on in states.items()}


@pytest.mark.parametrize(
    ("switches", "missing"),
    [
        ({}, OFF_BY_DEFAULT),
        ({"gc": False, "system": True}, OFF_BY_DEFAULT | {"gc"}),
        (dict.fromkeys(OFF_BY_DEFAULT, True), set()),
        (dict.fromkeys((*BUILT_IN, "orders"), False), {*BUILT_IN, "orders"}),
        ({"orders": False}, OFF_BY_DEFAULT | {"orders"}),
    ],
)
def test_all_collectors_are_on_but_those_switched_off(
    switches: dict[str, bool], missing: set[str]
) -> None:
    """Nobody has to list what is to be collected, but for what others may show already."""
    expected = [name for name in (*BUILT_IN, "orders") if name not in missing]
    assert choose_collectors(switch(**switches), ["orders"]) == expected


def test_each_file_of_a_collector_is_built_in() -> None:
    """No collector that ships is forgotten."""
    files = (ROOT / "metrics_commands" / "collectors").glob("*.py")
    source = "".join(sorted(each.read_text() for each in files))
    assert sorted(re.findall(r'^@register\("(\w+)"\)', source, re.MULTILINE)) == list(BUILT_IN)
    assert set(BUILT_IN) >= OFF_BY_DEFAULT


@pytest.mark.parametrize("name", ["systm", "registry", "../system", "", "x" * 500])
def test_an_unknown_collector_is_refused_with_the_known_names(name: str) -> None:
    """A typing error is told before anything starts, also when it switches off."""
    with pytest.raises(ConfigurationError) as refusal:
        choose_collectors(switch(**{name: False}))
    assert refusal.value.exit_code == 2
    assert "system" in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_the_projects_own_names_are_known() -> None:
    """A typing error is told with them; where one has a mistake, it may be the unknown one."""
    with pytest.raises(ConfigurationError, match=r"system, .*open_orders"):
        choose_collectors(switch(open_oders=True), ["open_orders"])
    assert "a" in choose_collectors(switch(open_oders=True), ["a"], strict=False)
    many = [f"orders_{i}" for i in range(1000)]
    with pytest.raises(ConfigurationError, match=r", …\.$") as refusal:
        choose_collectors(switch(nope=True), many)
    assert len(str(refusal.value)) < 1000


def test_a_query_tells_what_is_switched_off_from_what_is_not_there() -> None:
    """Also of the project's own, a scrape job is told why there is nothing."""
    own = {"orders": Simple(list), "items": Simple(list)}
    collectors = make_collectors(["orders"], Surroundings(), own)
    assert collectors.choose(["orders"], []) == ("orders",)
    for name, text in (("items", f"{DISABLED}items"), ("gc", f"{DISABLED}gc")):
        with pytest.raises(QueryError, match=f"^{text}\nCollectors that are on: orders$"):
            collectors.choose([name], [])


@pytest.mark.parametrize(
    "raised", [asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit]
)
def test_whatever_a_collector_raises_costs_only_itself(raised: type[BaseException]) -> None:
    """Also what is no Exception leaves the page standing."""

    def collect() -> Iterable[Metric]:
        raise raised

    samples = scrape(make_set(bad=collect, good=lambda: [gauge("good", 1)]))
    assert sample(samples, SUCCESS, collector="bad") == 0
    assert sample(samples, "good") == 1


def make_named(*names: str) -> CollectorSet:
    """Make a set of collectors that do nothing."""
    return make_set(**dict.fromkeys(names, list))


@pytest.mark.parametrize(
    ("collect", "exclude", "chosen"),
    [
        ([], [], ("a", "b", "c")),
        (["c", "a", "c"], [], ("a", "c")),
        ([], ["b"], ("a", "c")),
        ([], ["a", "b", "c"], ()),
        (["b"] * 10_000, [], ("b",)),
    ],
)
def test_a_query_chooses_collectors(
    collect: list[str], exclude: list[str], chosen: tuple[str, ...]
) -> None:
    """A scrape job of its own may ask for some collectors, or for all but some."""
    collectors = make_named("a", "b", "c")
    assert collectors.choose(collect, exclude) == chosen
    gathered = collectors.gather(chosen)
    (success,) = [each for each in gathered.families if isinstance(each, Metric)][-1:]
    assert [each.labels["collector"] for each in success.samples] == list(chosen)


MISSING = "Couldn't create filtered metrics handler: missing collector: "
DISABLED = "Couldn't create filtered metrics handler: disabled collector: "


@pytest.mark.parametrize(
    ("collect", "exclude", "text"),
    [
        (["a"], ["b"], "Combined collect and exclude queries are not allowed."),
        (["a", "zoo"], [], f"{MISSING}zoo"),
        ([], ["zoo"], f"{MISSING}zoo"),
        (["gc"], [], f"{DISABLED}gc"),
        ([], ["gc"], f"{DISABLED}gc"),
        ([""], [], MISSING),
        (["a\r\nb: <ü\ud800"], [], f"{MISSING}a\\r\\nb: <\\xfc\\ud800"),
        (["x" * 1000], [], f"{MISSING}{'x' * 80}..."),
        ([f"x{i}" for i in range(10_000)], [], f"{MISSING}x0"),
    ],
)
def test_a_query_for_what_is_not_there_is_refused(
    collect: list[str], exclude: list[str], text: str
) -> None:
    """The refusal is worded as by other exporters, and echoes nothing long or unprintable."""
    with pytest.raises(QueryError) as refusal:
        make_named("a", "b").choose(collect, exclude)
    told, *others = str(refusal.value).splitlines()
    assert told == text
    assert others == ([] if collect and exclude else ["Collectors that are on: a, b"])
