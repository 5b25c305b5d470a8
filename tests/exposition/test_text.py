"""The page as Prometheus reads it: parsed back by prometheus_client's own parser."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.parser import text_string_to_metric_families

from metrics_commands.exposition.text import CONTENT_TYPE, encode
from tests.processes import Samples, parse_samples, sample

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def parse(families: list[Metric]) -> Samples:
    """Encode families and read them back."""
    return parse_samples(encode(families).decode())


def gauge(name: str, value: float, **labels: str) -> GaugeMetricFamily:
    """Return a family of one sample."""
    family = GaugeMetricFamily(name, "Help.", labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def test_the_content_type_names_the_format_that_every_prometheus_reads() -> None:
    """Prometheus 3 refuses a page whose content type it does not know."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_every_kind_of_metric_keeps_its_type_and_numbers() -> None:
    """What an app counts is what a query finds."""
    registry = CollectorRegistry()
    Counter("orders", "Orders.", ["product"], registry=registry).labels("tea").inc(3)
    Gauge("queue_length", "Length.", registry=registry).set(-2.5)
    Summary("size_bytes", "Size.", registry=registry).observe(4)
    Histogram("wait_seconds", "Wait.", buckets=(1, 2), registry=registry).observe(1.5)
    families = [
        *registry.collect(),
        InfoMetricFamily("build", "Build.", {"version": "1"}),
        StateSetMetricFamily("task", "Task.", {"idle": True, "busy": False}),
        UnknownMetricFamily("odd", "Odd.", 7),
    ]
    page = encode(families).decode()
    samples = parse_samples(page)
    assert sample(samples, "orders_total", product="tea") == 3
    assert sample(samples, "queue_length") == -2.5
    assert (sample(samples, "size_bytes_count"), sample(samples, "size_bytes_sum")) == (1, 4)
    buckets = [sample(samples, "wait_seconds_bucket", le=le) for le in ("1.0", "2.0", "+Inf")]
    assert buckets == [0, 1, 1]
    assert sample(samples, "build_info", version="1") == 1
    assert (sample(samples, "task", task="idle"), sample(samples, "odd")) == (1, 7)
    types = {each.name: each.type for each in text_string_to_metric_families(page)}
    assert types["orders"] == "counter"
    assert types["wait_seconds"] == "histogram"
    assert page.endswith("\n")


@settings(max_examples=60, deadline=None)
@given(value=UNICODE, documentation=UNICODE)
def test_any_label_value_and_any_help_text_stay_on_their_line(
    value: str, documentation: str
) -> None:
    """No text of an app, however odd, breaks the page or makes another sample out of itself."""
    family = GaugeMetricFamily("g", documentation, labels=["text"])
    family.add_metric([value], 1)
    page = encode([family, gauge("after", 2)]).decode()
    assert page.count("\n") == 6
    assert parse_samples(page) == {
        ("g", frozenset({("text", value)})): 1,
        ("after", frozenset()): 2,
    }


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1 + 0.2, 5e-324, 1e300, 2.0**53, -0.0])
def test_numbers_are_written_without_loss(value: float) -> None:
    """A number is read back to the last bit."""
    assert sample(parse([gauge("g", value)]), "g") == value


def test_a_number_that_is_none_is_not_a_number_on_the_page() -> None:
    """NaN, as of a ratio without data, is a value that Prometheus knows."""
    value = sample(parse([gauge("g", math.nan)]), "g")
    assert value is not None
    assert math.isnan(value)


def make_bad_families() -> Iterator[Metric]:
    """Yield families that cannot be written, each for a reason of its own."""
    yield gauge("bad_value", "many")  # type: ignore[arg-type]
    yield gauge("bad_missing_value", None)  # type: ignore[arg-type]
    yield gauge("bad_label", 1, label=7)  # type: ignore[arg-type]
    yield gauge("bad_surrogate", 1, label="\udcff")
    family = CounterMetricFamily("bad_samples", "Help.", value=1)
    family.samples = None  # type: ignore[assignment]
    yield family


@pytest.mark.parametrize("bad", list(make_bad_families()), ids=lambda family: family.name)
def test_a_family_that_cannot_be_written_costs_only_itself(
    bad: Metric, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are on the page whole; the log names the bad one once, not at every scrape."""
    families = [gauge("a", 1), bad, gauge("z", 2)]
    expected = {("a", frozenset[tuple[str, str]]()): 1, ("z", frozenset[tuple[str, str]]()): 2}
    assert parse(families) == expected
    assert parse(families) == expected
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert bad.name in record.getMessage()


def test_no_families_make_an_empty_page() -> None:
    """An exporter that knows nothing answers, with nothing."""
    assert encode([]) == b""
