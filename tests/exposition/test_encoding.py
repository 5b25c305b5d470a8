"""The page as Prometheus reads it: parsed back by prometheus_client's own parsers."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
    SummaryMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.openmetrics.exposition import (
    ALLOWUTF8,
    UNDERSCORES,
    escape_label_name,
    escape_metric_name,
)
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_string_to_metric_families,
)
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar, Timestamp

from metrics_commands.exposition import encoding
from metrics_commands.exposition.encoding import encode
from metrics_commands.exposition.format import FORMATS, OPENMETRICS, TEXT, Format
from tests.processes import Samples, parse_samples, sample

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


OPEN = Format(OPENMETRICS, "1.0.0", "allow-utf-8")


def read(families: list[Metric], form: Format = TEXT, **options: Any) -> list[Metric]:
    """Encode families and read them back."""
    page = encode(families, form, **options).decode()
    # In the other escapings a sample's name does not begin with its family's, as that parser asks.
    if form.openmetrics and form.escaping in (UNDERSCORES, ALLOWUTF8):
        return list(openmetrics_string_to_metric_families(page))  # type: ignore[no-untyped-call]
    return list(text_string_to_metric_families(page))


def parse(families: list[Metric], form: Format = TEXT, **options: Any) -> Samples:
    """Encode families and read their samples back; a repeated one is an error."""
    samples: Samples = {}
    for family in read(families, form, **options):
        for each in family.samples:
            key = (each.name, frozenset(each.labels.items()))
            assert key not in samples
            samples[key] = each.value
    return samples


def gauge(name: str, value: float, **labels: str) -> GaugeMetricFamily:
    """Return a family of one sample."""
    family = GaugeMetricFamily(name, "Help.", labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


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


@pytest.fixture(autouse=True)
def _nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test see what is logged once."""
    monkeypatch.setattr(encoding, "_reported", set())


def by_hand(name: str, *samples: str, kind: str = "gauge", **labels: str) -> Metric:
    """Return a family with samples of any name."""
    family = Metric(name, "Help.", kind)
    for each in samples:
        family.add_sample(each, labels, 1)
    return family


def make_bad_families() -> Iterator[Metric]:
    """Yield families that cannot be written, each for a reason of its own."""
    yield gauge("bad_value", "many")  # type: ignore[arg-type]
    yield gauge("bad_missing_value", None)  # type: ignore[arg-type]
    yield gauge("bad_label", 1, label=7)  # type: ignore[arg-type]
    yield gauge("bad_surrogate", 1, label="\udcff")
    yield gauge("bad_label_name", 1, **{"label\n": "x"})
    yield gauge("bad_empty_label_name", 1, **{"": "x"})
    for number, timestamp in enumerate(
        ("1 x", datetime(2026, 1, 2, tzinfo=timezone.utc), math.nan, True)
    ):
        timed = GaugeMetricFamily(f"bad_timestamp_{number}", "Help.", labels=[])
        timed.add_metric([], 1, timestamp)  # type: ignore[arg-type]
        yield timed
    yield by_hand("bad_sample_name", "")
    yield by_hand("bad_end", "bad_end\n")
    family = CounterMetricFamily("bad_samples", "Help.", value=1)
    family.samples = None  # type: ignore[assignment]
    yield family


@pytest.mark.parametrize("form", [TEXT, OPEN], ids=["text", "openmetrics"])
@pytest.mark.parametrize("bad", list(make_bad_families()), ids=lambda family: family.name)
def test_a_family_that_cannot_be_written_costs_only_itself(
    bad: Metric, form: Format, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are on the page whole; the log names the bad one once, and each time counts."""
    families = [gauge("a", 1), bad, gauge("z", 2)]
    failures: list[str] = []
    for _ in range(2):
        page = parse(families, form, on_failure=lambda: failures.append(bad.name))
        assert page == {("a", frozenset()): 1, ("z", frozenset()): 2}
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert bad.name in record.getMessage()
    assert len(failures) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_labels_that_become_one_are_not_written_as_two(form: Format) -> None:
    """A sample that has a label twice would cost the whole page, in the escapings where it has."""
    page = encode([gauge("a", 1, **{"x.y": "1", "x-y": "2"}), gauge("z", 2)], form)
    same = escape_label_name("x.y", form.escaping) == escape_label_name("x-y", form.escaping)
    assert (b"HELP a " in page) is not same
    assert b"\nz 2.0\n" in b"\n" + page


@pytest.mark.parametrize("form", FORMATS)
def test_no_families_make_an_empty_page(form: Format) -> None:
    """An exporter that knows nothing answers, with nothing."""
    assert encode([], form) == (b"# EOF\n" if form.openmetrics else b"")


def test_the_first_of_a_name_wins(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing stands on the page twice; what is left out is told once."""
    first, second = gauge("a", 1), gauge("a", 2)
    for form in (TEXT, OPEN, TEXT):
        assert parse([first, second], form) == {("a", frozenset()): 1}
    assert [each.levelname for each in caplog.records] == ["ERROR"]


COUNTER = CounterMetricFamily("a", "Help.", value=1)


@pytest.mark.parametrize(
    ("families", "in_text", "in_openmetrics"),
    [
        ([COUNTER, gauge("a_total", 2)], {"a_total"}, {"a_total"}),
        ([gauge("a_total", 2), COUNTER], {"a_total"}, {"a_total"}),
        ([COUNTER, gauge("a_created", 2)], {"a_total", "a_created"}, {"a_total"}),
        ([gauge("a_created", 2), COUNTER], {"a_total", "a_created"}, {"a_created"}),
        (
            [SummaryMetricFamily("s", "Help.", 1, 1), gauge("s_bucket", 2)],
            {"s_count", "s_sum", "s_bucket"},
            {"s_count", "s_sum", "s_bucket"},
        ),
        ([gauge("b.c", 1), gauge("b_c", 2)], {"b_c"}, {"b.c"}),
    ],
)
def test_no_two_families_clash(
    families: list[Metric], in_text: set[str], in_openmetrics: set[str]
) -> None:
    """What OpenMetrics keeps for one family is not another's; in text both may be shown."""
    assert {name for name, _ in parse(families)} == in_text
    assert {name for name, _ in parse(families, OPEN)} == in_openmetrics


FAMILIES = [
    COUNTER,
    HistogramMetricFamily("h", "Help.", buckets=[("1.0", 1), ("+Inf", 2)], sum_value=3),
    InfoMetricFamily("i", "Help.", {"version": "1"}),
    gauge("d.e", 1),
]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a"], {"a_total"}),
        (["a_total"], {"a_total"}),
        (["h"], {"h_bucket", "h_count", "h_sum"}),
        (["h_bucket"], {"h_bucket"}),
        (["h_count", "h_sum", "nothing"], {"h_count", "h_sum"}),
        (["i"], {"i_info"}),
        (["i_info", "a"], {"i_info", "a_total"}),
        (["d.e"], {"d_e"}),
        (["d_e"], {"d_e"}),
        (["nothing", ""], set()),
        ([], {"a_total", "h_bucket", "h_count", "h_sum", "i_info", "d_e"}),
    ],
)
@pytest.mark.parametrize("media_type", [TEXT.media_type, OPENMETRICS])
def test_a_page_can_be_asked_for_by_name(
    media_type: Any, names: list[str], expected: set[str]
) -> None:
    """A family's name, as any format shows it, has all of it; a sample's name has that sample."""
    page = encode(FAMILIES, Format(media_type, "1.0.0"), names).decode()
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert {line.replace("{", " ").split()[0] for line in lines} == expected
    assert page.count("# TYPE") == len({each.partition("_")[0] for each in expected})


def test_openmetrics_has_units_and_exemplars() -> None:
    """What the older format cannot say is said where it can be."""
    registry = CollectorRegistry()
    counter = Counter("work", "Work.", unit="seconds", registry=registry)
    counter.inc(3, {"trace": "x"})
    page = encode(registry.collect(), OPEN).decode()
    assert "# UNIT work_seconds seconds\n" in page
    assert 'work_seconds_total 3.0 # {trace="x"} 3.0' in page
    assert page.count("# EOF") == 1
    (family,) = read(list(registry.collect()), OPEN)
    assert (family.name, family.unit, family.type) == ("work_seconds", "seconds", "counter")


@pytest.mark.parametrize(
    "exemplar",
    [
        Exemplar({"trace id": "x"}, 1),
        Exemplar({"": "x"}, 1),
        Exemplar({"trace": "x"}, 1, datetime(2026, 1, 2, tzinfo=timezone.utc)),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_an_exemplar_that_cannot_be_written_costs_only_its_family(exemplar: Exemplar) -> None:
    """OpenMetrics' page is read nevertheless, and the older format's has the family."""
    bad = CounterMetricFamily("bad", "Help.")
    bad.add_metric([], 1)
    bad.samples = [each._replace(exemplar=exemplar) for each in bad.samples]
    families: list[Metric] = [gauge("a", 1), bad, gauge("z", 2)]
    others = {("a", frozenset[Any]()): 1, ("z", frozenset[Any]()): 2}
    assert parse(families, OPEN) == others
    assert parse(families) == others | {("bad_total", frozenset[Any]()): 1}


def test_timestamps_stay() -> None:
    """A number is written whatever its type, as seconds or milliseconds."""
    times = (1700000000, 1.5, -3.0, 1e22, Decimal("1E+3"), Timestamp(5, 250_000_000))
    for time in times:
        family = GaugeMetricFamily("a", "Help.", labels=[])
        family.add_metric([], 1, time)  # type: ignore[arg-type]
        for form in (TEXT, OPEN):
            (read_back,) = read([family], form)
            (found,) = read_back.samples
            assert found.timestamp is not None
            assert float(found.timestamp) == float(time)


@pytest.mark.parametrize(
    ("unit", "kind", "escaping"),
    [
        ("m.s", "gauge", "underscores"),
        ("m\ns", "gauge", "allow-utf-8"),
        ("seconds", "info", "allow-utf-8"),
    ],
)
def test_a_unit_that_would_have_the_page_refused_is_left_out(
    unit: str, kind: str, escaping: str
) -> None:
    """Prometheus gives a page up over a unit with which its family's name does not end."""
    family = Metric("a", "Help.", kind, unit)
    assert b"# UNIT" not in encode([family], Format(OPENMETRICS, "1.0.0", escaping))


# prometheus_client's parser reads no page with a label that begins with two underscores.
LABELS = st.text("xy.-é", max_size=3).map("x{}".format)
NUMBERS = st.floats(0, 1e300) | st.integers(0, 2**53)


@st.composite
def draw_families(draw: st.DrawFn) -> list[Metric]:
    """Draw families of every type, with names, labels and help texts of any characters."""
    families: list[Metric] = []
    for number in range(draw(st.integers(0, 4))):
        name = f"{draw(st.text('ab_:9.-é', min_size=1, max_size=4))}_{number}"
        # A parser takes no notice of blanks around a help text.
        documentation = draw(UNICODE).strip()
        label, value = draw(LABELS), draw(NUMBERS)
        texts = draw(st.lists(UNICODE, min_size=1, max_size=2, unique=True))
        make = draw(st.sampled_from([GaugeMetricFamily, CounterMetricFamily, SummaryMetricFamily,
                                     HistogramMetricFamily, UnknownMetricFamily]))  # fmt: skip
        family = make(name, documentation, labels=[label])
        for text in texts:
            if isinstance(family, SummaryMetricFamily):
                family.add_metric([text], 2, value)
            elif isinstance(family, HistogramMetricFamily):
                family.add_metric([text], [("0.5", 1), ("+Inf", 3)], value)
            else:
                family.add_metric([text], value)
        families.append(family)
    return families


@settings(max_examples=60, deadline=None)
@given(draw_families(), st.sampled_from(FORMATS))
def test_a_parser_reads_the_samples_that_were_written(families: list[Metric], form: Format) -> None:
    """Each sample comes back by its escaped name, with its labels and its value, in any format."""
    assert parse(families, form) == {
        (
            unquote(escape_metric_name(each.name, form.escaping)),
            frozenset(
                (unquote(escape_label_name(label, form.escaping)), text)
                for label, text in each.labels.items()
            ),
        ): each.value
        for family in families
        for each in family.samples
    }


@settings(max_examples=40, deadline=None)
@given(draw_families())
def test_openmetrics_loses_nothing(families: list[Metric]) -> None:
    """Where UTF-8 is allowed a parser has the same families: names, types, help texts, samples."""
    assert read(families, OPEN) == families


def unquote(name: str) -> str:
    """Return a name as a parser has it."""
    return name.strip('"')
