"""Two collectors with one family: the page has the true one, and tells who lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from django.test import override_settings
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.registry import Collector as PeersCollector

from metrics_commands.collectors.joining import SUFFIXES, list_names
from metrics_commands.collectors.registry import CollectorSet, Surroundings, make_collectors
from metrics_commands.exposition.encoding import encode
from metrics_commands.exposition.format import OPENMETRICS, TEXT, Format
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from tests.collectors.gathers import Simple, count_failures, gauge, make_set, scrape, succeeded
from tests.processes import parse_samples, sample

Found = Callable[[], Iterable[Metric]]

WORKERS = 7.0
FORMATS = (TEXT, Format(OPENMETRICS, "1.0.0", "underscores"))
BUILT_IN = ("application", "process", "value_files", "workers")


@pytest.fixture
def files(tmp_path: Path) -> DirectoryReader:
    """Return the reader of a worker's files, which hold a counter and two gauges."""
    for kind, name, suffix in (
        ("counter", "django_model_inserts", "_total"),
        ("gauge_livesum", "django_http_requests_in_flight", ""),
        ("gauge_livesum", "app_models", ""),
    ):
        file = ValueFile(str(tmp_path / f"{kind}_1.db"))
        key = mmap_key(name, f"{name}{suffix}", [], [], "Help.")
        file.read_value(key)
        file.write_value(key, WORKERS, 0.0)
        file.close()
    return DirectoryReader(tmp_path)


def make_all(files: DirectoryReader, **own: Found) -> CollectorSet:
    """Make some built-in collectors, and then some of the project's own."""
    simple = {name: Simple(collect) for name, collect in own.items()}
    with override_settings(INSTALLED_APPS=["metrics_commands"]):
        return make_collectors([*BUILT_IN, *own], Surroundings("", files), simple)


def counter(name: str, value: float) -> Metric:
    """Return a counter of one sample."""
    return CounterMetricFamily(name, "Help.", value=value)


def list_clashes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log says of families that are left out."""
    return [each.getMessage() for each in caplog.records if "left out" in each.getMessage()]


@pytest.mark.parametrize(
    ("family", "owner"),
    [
        (counter("django_model_inserts_total", -1), "collector value_files"),
        (gauge("django_model_inserts_total", -1), "collector value_files"),
        (gauge("django_model_inserts_created", -1), "collector value_files"),
        (counter("django.model.inserts", -1), "collector value_files"),
        (gauge("django_http_requests_in_flight", -1), "collector value_files"),
        (gauge("django_http_requests_in_flight", -1, worker="a"), "collector value_files"),
        (counter("process_cpu_seconds_total", -1), "collector process"),
        (gauge("process_cpu_seconds_total", -1), "collector process"),
        (gauge("django_workers", -1, role="web"), "collector workers"),
        (gauge("django_exporter_collector_success", -1), "the exporter itself"),
        (gauge("django_exporter_collector_age_seconds", -1), "the exporter itself"),
    ],
)
def test_nobody_replaces_a_number_of_the_exporters(
    files: DirectoryReader, caplog: pytest.LogCaptureFixture, family: Metric, owner: str
) -> None:
    """A project's collector loses such a family alone; page and log tell it, the log once."""
    collectors = make_all(files, mine=lambda: [family, gauge("mine", 5)])
    for count in range(1, 4):
        gathered = collectors.gather()
        for form in FORMATS:
            samples = parse_samples(encode(gathered.families, form).decode())
            assert sample(samples, "django_model_inserts_total") == WORKERS
            assert sample(samples, "django_http_requests_in_flight") == WORKERS
            assert (sample(samples, "process_cpu_seconds_total") or 0) > 0
            assert -1 not in samples.values()
            assert sample(samples, "mine") == 5
            fared = {name: succeeded(samples, name) for name in (*BUILT_IN, "mine")}
            assert fared == dict.fromkeys(BUILT_IN, True) | {"mine": False}
            assert count_failures(samples, "mine") == (count, 0, 0)
    told = (
        f"Collector mine yields families of {owner}, which are left out: '{family.name}';"
        " the others are served."
    )
    assert list_clashes(caplog) == [told]
    assert collectors.count_failures() == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (counter("pair", 1), counter("pair_total", -2)),
        (counter("pair", 1), gauge("pair_total", -2)),
        (gauge("pair_total", 1), counter("pair", -2)),
        (gauge("pair", 1), counter("pair_total", -2)),
        (gauge("pair", 1), gauge("pair", -2, worker="b")),
        (counter("pair", 1), gauge("pair_created", -2)),
        (gauge("pair_info", 1), InfoMetricFamily("pair", "Help.", {"a": "b"})),
        (gauge("pair_count", 1), HistogramMetricFamily("pair", "Help.", [("+Inf", -2)], -2)),
        (counter("pair", 1), counter("pair.total", -2)),
    ],
)
def test_of_two_projects_collectors_the_first_wins(
    caplog: pytest.LogCaptureFixture, first: Metric, second: Metric
) -> None:
    """The names are compared as any format shows them, and numbers never mixed."""
    collectors = make_set(a=lambda: [first], b=lambda: [gauge("b", 5), second])
    for _ in range(2):
        samples = scrape(collectors)
        assert [sample(samples, each.name) for each in first.samples] == [1]
        assert -2 not in samples.values()
        assert sample(samples, "pair_info", a="b") is None
        assert sample(samples, "b") == 5
        assert (succeeded(samples, "a"), succeeded(samples, "b")) == (True, False)
    (told,) = list_clashes(caplog)
    assert told.startswith("Collector b yields families of collector a, ")
    assert f"'{second.name}'" in told


def test_names_that_are_only_alike_are_all_served(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody is refused a name that no format mixes up."""
    families: list[Metric] = [
        counter("pair", 1),
        gauge("pair_info", 2),
        gauge("pair_count", 3),
        GaugeMetricFamily("Pair", "Help.", value=4),
    ]
    collectors = make_set(**{f"c{i}": lambda each=each: [each] for i, each in enumerate(families)})
    samples = scrape(collectors)
    shown = [sample(samples, name) for name in ("pair_total", "pair_info", "pair_count", "Pair")]
    assert shown == [1, 2, 3, 4]
    assert list_clashes(caplog) == []
    assert collectors.count_failures() == 0


def test_a_gauge_with_a_function_is_shown_instead_of_what_workers_left(
    files: DirectoryReader, caplog: pytest.LogCaptureFixture
) -> None:
    """What the exporter's own process knows of an app's metric is fresher, and is no clash."""
    fresh = Gauge("app_models", "Help.")
    fresh.set_function(lambda: 3)
    try:
        samples = scrape(make_all(files, mine=lambda: [gauge("app_models", -1)]))
    finally:
        REGISTRY.unregister(fresh)
    assert sample(samples, "app_models") == 3
    fared = {name: succeeded(samples, name) for name in (*BUILT_IN, "mine")}
    assert fared == dict.fromkeys(BUILT_IN, True) | {"mine": False}
    (told,) = list_clashes(caplog)
    assert "Collector mine yields families of collector application" in told


def test_what_apps_register_replaces_no_built_in_family(
    files: DirectoryReader, caplog: pytest.LogCaptureFixture
) -> None:
    """Of all that prometheus_client's registry has, the family alone is left out."""

    class Custom(PeersCollector):
        def collect(self) -> Iterable[Metric]:
            return [gauge("django_workers", -1, role="web"), gauge("app_queue", 2)]

        def describe(self) -> Iterable[Metric]:
            return []

    custom = Custom()
    REGISTRY.register(custom)
    try:
        samples = scrape(make_all(files))
    finally:
        REGISTRY.unregister(custom)
    assert -1 not in samples.values()
    assert sample(samples, "app_queue") == 2
    assert (succeeded(samples, "application"), succeeded(samples, "workers")) == (False, True)
    assert len(list_clashes(caplog)) == 1


def test_all_that_is_lost_to_one_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A collector that copies another one's page does not fill the log."""
    many = [gauge(f"many_{i:03}", i) for i in range(200)]
    collectors = make_set(a=lambda: many, b=lambda: [*many, gauge("own", 1)])
    assert sample(scrape(collectors), "own") == 1
    (told,) = list_clashes(caplog)
    assert "'many_000', 'many_001'" in told
    assert len(told) < 250


def test_a_clash_is_told_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """A scrape without the other collector has the family; the log is told once of all scrapes."""
    caplog.set_level(logging.INFO, logger="metrics_commands")
    collectors = make_set(a=lambda: [gauge("same", 1)], b=lambda: [gauge("same", 2)])
    for _ in range(2):
        alone = [each for each in collectors.gather(["b"]).families if isinstance(each, Metric)]
        assert [each.samples[0].value for each in alone if each.name == "same"] == [2]
        samples = scrape(collectors)
        assert sample(samples, "same") == 1
        assert not succeeded(samples, "b")
    assert len(caplog.records) == 1
    assert collectors.count_failures() == 2


def test_an_interval_collector_loses_at_every_scrape() -> None:
    """Also what was found earlier is compared with what the others have now."""
    seldom = Simple(lambda: [gauge("same", 2), gauge("other", 3)])
    seldom.interval = 60
    collectors = CollectorSet({"a": Simple(lambda: [gauge("same", 1)]), "seldom": seldom})
    for _ in range(3):
        samples = scrape(collectors)
        assert (sample(samples, "same"), sample(samples, "other")) == (1, 3)
        assert not succeeded(samples, "seldom")


@pytest.mark.parametrize("kind", ["counter", "gauge", "unknown", "stateset", *SUFFIXES])
def test_names_are_those_that_prometheus_client_compares(kind: str) -> None:
    """Its registry refuses at registration what we refuse at a scrape."""
    registry = CollectorRegistry()

    class Described(PeersCollector):
        def collect(self) -> Iterable[Metric]:
            return []

        def describe(self) -> Iterable[Metric]:
            return [Metric("name", "Help.", kind)]

    registry.register(Described())
    assert set(list_names("name", kind)) == set(vars(registry)["_names_to_collectors"])
