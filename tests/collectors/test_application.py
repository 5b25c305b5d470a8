"""What apps register with prometheus_client, and the exporter alone can tell."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.test import override_settings
from prometheus_client import REGISTRY, Gauge

from metrics_commands.collectors.registry import CollectorSet, Surroundings, make_collectors
from tests.collectors.gathers import scrape
from tests.processes import Samples, sample

MakeExporter = Callable[..., CollectorSet]

CUSTOM = """
    from prometheus_client import REGISTRY
    from prometheus_client.metrics_core import GaugeMetricFamily

    class QueueCollector:
        def describe(self):
            return []

        def collect(self):
            yield GaugeMetricFamily("app_queue_length", "Length.", value=3)

    REGISTRY.register(QueueCollector())
"""


@pytest.fixture
def make_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExporter]:
    """Install apps with the given ``metrics.py`` modules, and take back what they register."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(vars(REGISTRY)["_collector_to_names"])
    with ExitStack() as stack:

        def make(**sources: str | None) -> CollectorSet:
            for name, source in sources.items():
                (tmp_path / name).mkdir()
                (tmp_path / name / "__init__.py").touch()
                if source is not None:
                    (tmp_path / name / "metrics.py").write_text(dedent(source))
            stack.enter_context(override_settings(INSTALLED_APPS=list(sources)))
            return make_collectors(["application"], Surroundings())

        yield make
    for collector in set(vars(REGISTRY)["_collector_to_names"]) - before:
        REGISTRY.unregister(collector)
    for name in [each for each in sys.modules if each.partition(".")[0].startswith("metered_")]:
        del sys.modules[name]


def read_app(samples: Samples) -> dict[Any, float]:
    """Return the samples whose names the tests' apps have chosen."""
    return {
        (name, *sorted(labels)): value
        for (name, labels), value in samples.items()
        if name.startswith("app_")
    }


def is_well(samples: Samples) -> bool:
    """Tell whether the collector gave all it had."""
    return sample(samples, "django_exporter_collector_success", collector="application") == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (CUSTOM, {("app_queue_length",): 3}),
        (
            'Gauge("app_models", "Models.").set_function(lambda: 7)',
            {("app_models",): 7},
        ),
        (
            """
            gauge = Gauge("app_files", "Files.", ["disk", "kind"])
            gauge.labels("a", "x").set_function(lambda: 1)
            gauge.labels(kind="y", disk="a").set_function(lambda: 2)
            gauge.labels("b", "x").set(3)
            """,
            {
                ("app_files", ("disk", "a"), ("kind", "x")): 1,
                ("app_files", ("disk", "a"), ("kind", "y")): 2,
            },
        ),
        (
            'Info("app_release", "Release.").info({"commit": "abc"})',
            {("app_release_info", ("commit", "abc")): 1},
        ),
        (
            'Enum("app_state", "State.", states=["up", "down"]).state("down")',
            {("app_state", ("app_state", "up")): 0, ("app_state", ("app_state", "down")): 1},
        ),
        ('Counter("app_c", "C.").inc()', {}),
        ('Counter("app_c", "C.", ["x"]).labels("y").inc()', {}),
        ('Gauge("app_g", "G.").set(1)', {}),
        ('Gauge("app_g", "G.", ["x"]).labels("y").inc()', {}),
        ('Histogram("app_h", "H.").observe(1)', {}),
        ('Summary("app_s", "S.").observe(1)', {}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.split("(")[0].split()[-1],
)
def test_only_what_workers_cannot_write_is_collected_here(
    make_exporter: MakeExporter, source: str, expected: dict[Any, float]
) -> None:
    """Numbers of workers come from their files; the rest, which files drop, from the exporter."""
    code = "from prometheus_client import *\n" + dedent(source)
    collectors = make_exporter(metered_shop=code)
    for _ in range(2):
        samples = scrape(collectors)
        assert read_app(samples) == expected
        assert is_well(samples)


def test_functions_are_called_at_every_scrape(make_exporter: MakeExporter) -> None:
    """A gauge with a function shows the value of this moment."""
    collectors = make_exporter(
        metered_shop="""
            from itertools import count
            from prometheus_client import Gauge
            Gauge("app_calls", "Calls.").set_function(count(1).__next__)
        """
    )
    assert [sample(scrape(collectors), "app_calls") for _ in range(3)] == [1, 2, 3]


def test_what_other_collectors_show_is_not_shown_here(make_exporter: MakeExporter) -> None:
    """Switching off the collector of processes switches it off."""
    names = {name for name, _ in scrape(make_exporter(metered_shop=None))}
    assert not {name for name in names if name.startswith(("process_", "python_"))}


def test_what_is_registered_after_the_start_is_collected(make_exporter: MakeExporter) -> None:
    """A collector that an app registers when it is first used is not missed."""
    collectors = make_exporter(metered_shop=None)
    assert sample(scrape(collectors), "app_late") is None
    Gauge("app_late", "Late.").set_function(lambda: 5)
    assert sample(scrape(collectors), "app_late") == 5


@pytest.mark.parametrize(
    "source",
    [
        "raise ValueError",
        "import metered_nowhere",
        "def (",
        "raise SystemExit('not configured')",
        "from . import models",
    ],
)
def test_a_failing_metrics_module_costs_only_itself(
    make_exporter: MakeExporter, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The other apps' metrics are served; log and page tell that one is missing."""
    collectors = make_exporter(metered_broken=source, metered_empty=None, metered_shop=CUSTOM)
    assert "metered_broken.metrics cannot be imported" in caplog.text
    for _ in range(2):
        samples = scrape(collectors)
        assert sample(samples, "app_queue_length") == 3
        assert not is_well(samples)


@pytest.mark.parametrize("failure", ["raise OSError", "exit('gone')", "yield 7", "return 7"])
def test_a_failing_custom_collector_costs_only_itself(
    make_exporter: MakeExporter, failure: str
) -> None:
    """Collectors registered before and after it are served."""
    bad = f"""
        import sys
        from sys import exit
        from prometheus_client import REGISTRY

        class BadCollector:
            def describe(self):
                return []

            def collect(self):
                {failure}

        REGISTRY.register(BadCollector())
    """
    before = """
        from prometheus_client import Gauge
        Gauge("app_before", "Before.").set_function(lambda: 1)
    """
    samples = scrape(make_exporter(metered_a=before, metered_b=bad, metered_c=CUSTOM))
    assert (sample(samples, "app_before"), sample(samples, "app_queue_length")) == (1, 3)
    assert not is_well(samples)


def test_each_failure_is_logged_once_by_name_with_its_cause(
    make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the log finds which collector failed and why, also beside another failure."""
    collectors = make_exporter(metered_shop=None)
    failing: set[str] = set()

    def register(name: str) -> None:
        def read() -> float:
            if name in failing:
                raise OSError(f"no {name}")
            return 1

        Gauge(name, "Help.").set_function(read)

    register("app_disk")
    register("app_mail")
    told = []
    for state in ({"app_disk"}, {"app_disk", "app_mail"}, {"app_mail"}, set[str](), {"app_disk"}):
        failing.clear()
        failing.update(state)
        caplog.clear()
        samples = scrape(collectors)
        assert {name for name in ("app_disk", "app_mail") if (name, frozenset()) in samples} == (
            {"app_disk", "app_mail"} - state
        )
        assert is_well(samples) == (not state)
        text = [logging.Formatter().format(each) for each in caplog.records]
        told.append({name for name in failing for each in text if f"OSError: no {name}" in each})
    assert told == [{"app_disk"}, {"app_mail"}, set(), set(), {"app_disk"}]
