"""Merging: what a page says is what prometheus_client's own collector makes of the files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric, generate_latest
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.exposition import UNDERSCORES, escape_label_name
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.files import encode_key, pack_file, read_values, write_series

GAUGES = [
    f"gauge_{live}{mode}"
    for mode in ("all", "min", "max", "sum", "mostrecent")
    for live in ("", "live")
]
WORKERS = ["1", "23", "4711-99-a", "9"]

# Sums of these are exact in any order, those of any floats are not.
exact = st.integers(-(2**40), 2**40).map(lambda number: number / 8)
special = st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 0.0])
names = st.text('ab_:09.-é"\n\\ ', max_size=6)
texts = st.one_of(st.text('a "\\\n{},=#é日', max_size=6), st.text(max_size=6))
# prometheus_client's parser reads no page with a name that begins with two underscores.
label_names = st.lists(
    st.text("xy.-é_ ", max_size=3).map("x{}".format),
    max_size=3,
    unique_by=lambda name: escape_label_name(name, UNDERSCORES),
)


@dataclass(frozen=True)
class Declared:
    """A metric as a worker declares it."""

    kind: str
    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Write:
    """One observation of one worker: the metric's number, and a value for each entry it has."""

    worker: str
    metric: int
    labels: list[str]
    values: list[float]
    timestamp: float


@st.composite
def declarations(draw: st.DrawFn) -> list[Declared]:
    """Draw metrics whose names are different, also as they are written."""
    kinds = draw(
        st.lists(
            st.sampled_from(["counter", "summary", "histogram", *GAUGES]), min_size=1, max_size=4
        )
    )
    bounds = draw(st.lists(st.integers(-9, 9), max_size=3, unique=True))
    return [
        Declared(
            kind,
            f"{draw(names)}_{number}",
            draw(texts),
            tuple(draw(label_names)),
            tuple(map(floatToGoString, [*sorted(bounds), "inf"])) if kind == "histogram" else (),
        )
        for number, kind in enumerate(kinds)
    ]


@st.composite
def deployments(draw: st.DrawFn) -> tuple[list[Declared], list[list[Write]]]:
    """Draw metrics, and what workers write between one scrape and the next."""
    metrics = draw(declarations())
    values = st.one_of(exact, special)
    write = st.builds(
        Write,
        st.sampled_from(WORKERS),
        st.integers(0, len(metrics) - 1),
        st.lists(texts, min_size=3, max_size=3),
        st.lists(values, min_size=5, max_size=5),
        st.one_of(st.just(0.0), st.integers(1, 9).map(float)),
    )
    return metrics, draw(st.lists(st.lists(write, max_size=6), min_size=1, max_size=4))


@dataclass
class Workers:
    """Processes that write into one directory, each by its own files."""

    directory: Path
    files: dict[str, ValueFile] = field(default_factory=dict)

    def write(self, metric: Declared, write: Write) -> None:
        """Write one observation."""
        path = str(self.directory / f"{metric.kind}_{write.worker}.db")
        if path not in self.files:
            self.files[path] = ValueFile(path)
        file = self.files[path]
        labels = dict(zip(metric.labels, write.labels, strict=False))
        for (sample, extra), value in zip(entries_of(metric), write.values, strict=False):
            every = {**labels, **extra}
            key = mmap_key(metric.name, sample, [*every], [*every.values()], metric.help)
            file.write_value(key, value, write.timestamp)


def entries_of(metric: Declared) -> list[tuple[str, dict[str, str]]]:
    """Return sample names, and the labels of their own, of one label set."""
    if metric.kind == "counter":
        return [(f"{metric.name}_total", {})]
    if metric.kind == "summary":
        return [(f"{metric.name}_count", {}), (f"{metric.name}_sum", {})]
    if metric.kind == "histogram":
        buckets = [(f"{metric.name}_bucket", {"le": bound}) for bound in metric.bounds]
        return [(f"{metric.name}_sum", {}), *buckets]
    return [(metric.name, {})]


@contextmanager
def working() -> Iterator[Workers]:
    """Return workers of a fresh directory."""
    with tempfile.TemporaryDirectory() as name:
        workers = Workers(Path(name))
        try:
            yield workers
        finally:
            for file in workers.files.values():
                file.close()


class Peer(Collector):
    """prometheus_client's collector, over files in the order in which ours reads them."""

    def __init__(self, directory: Path) -> None:
        self.files = sorted(map(str, directory.glob("*.db")))

    def collect(self) -> list[Metric]:
        """Return the merged families."""
        return list(MultiProcessCollector.merge(self.files))  # type: ignore[no-untyped-call]


Shown = dict[str, tuple[str, str, list[tuple[str, list[tuple[str, str]], str]]]]


def show(families: list[Metric]) -> Shown:
    """Return families in a form that can be compared: NaN is NaN, and -0.0 is not 0.0."""
    return {
        family.name: (
            family.type,
            family.documentation,
            sorted(
                (each.name, sorted(each.labels.items()), repr(float(each.value)))
                for each in family.samples
            ),
        )
        for family in families
    }


@settings(max_examples=60, deadline=None)
@given(deployments())
def test_is_equal_to_prometheus_clients_collector_at_every_scrape(
    deployment: tuple[list[Declared], list[list[Write]]],
) -> None:
    """Moving here changes no name, label, help text or number, whatever the workers declare."""
    metrics, rounds = deployment
    with working() as workers:
        reader = DirectoryReader(workers.directory)
        for writes in rounds:
            for each in writes:
                workers.write(metrics[each.metric], each)
            merged = reader.read()
            peer = Peer(workers.directory)
            assert show(list(merged.families())) == show(peer.collect())
            pages = merged.render().decode(), generate_latest(peer).decode()
            ours, theirs = (show(list(text_string_to_metric_families(page))) for page in pages)
            assert ours == theirs
            fresh = DirectoryReader(workers.directory).read()
            assert fresh.render() == merged.render()


@pytest.mark.parametrize("kind", ["counter", "gauge_all", "gauge_max", "histogram"])
def test_order_is_sorted_and_does_not_depend_on_who_came_first(tmp_path: Path, kind: str) -> None:
    """Two scrapes differ in numbers only, so that pages can be compared and compress well."""
    reader = DirectoryReader(tmp_path)
    for worker, series in (("2", "cab"), ("1", "dba")):
        keys = [encode_key(f"name_{letter}", labels={"x": letter}) for letter in series]
        (tmp_path / f"{kind}_{worker}.db").write_bytes(pack_file((key, 1.0) for key in keys))
        shown = list(read_values(reader))
        assert shown == sorted(shown)
    assert len(shown) == (6 if kind == "gauge_all" else 4)


def test_numbers_are_refilled_and_not_remembered(tmp_path: Path) -> None:
    """An infinite or undefined number changes how the page is written only while it is there."""
    reader = DirectoryReader(tmp_path)
    file = ValueFile(str(tmp_path / "gauge_sum_1.db"))
    shown = []
    for value in (1.5, float("inf"), float("nan"), 1e22, 2.0):
        file.write_value(encode_key("depth").decode(), value, 0.0)
        shown.append(reader.read().render().decode().splitlines()[-1])
    file.close()
    assert shown == ["depth 1.5", "depth +Inf", "depth NaN", "depth 1e+22", "depth 2.0"]


def test_buckets_of_one_bound_are_one_bucket_however_it_is_written(tmp_path: Path) -> None:
    """Workers of two releases that write a bound as 1 and as 1.0 count into one bucket."""
    for worker, bound in (("1", "1"), ("2", "1.0"), ("3", "1e0")):
        key = encode_key("wait", "wait_bucket", {"le": bound})
        (tmp_path / f"histogram_{worker}.db").write_bytes(pack_file([(key, 2.0)]))
    assert read_values(DirectoryReader(tmp_path)) == {'wait_bucket{le="1.0"}': 6, "wait_count": 6}


def test_a_label_called_pid_stands_on_the_page_once(tmp_path: Path) -> None:
    """A gauge of each worker that has such a label itself does not have the page refused."""
    for worker in ("1", "2"):
        write_series(tmp_path / f"gauge_all_{worker}.db", float(worker), pid="77")
    assert read_values(DirectoryReader(tmp_path)) == {'good{pid="1"}': 1, 'good{pid="2"}': 2}


def test_a_worker_that_declares_a_metric_twice_counts_both(tmp_path: Path) -> None:
    """Two registries of one process with one name and two help texts are added up."""
    keys = [encode_key("good", documentation=text) for text in ("One", "Two")]
    path = tmp_path / "counter_1.db"
    path.write_bytes(pack_file([(keys[0], 2.0), (keys[1], 3.0)]))
    assert read_values(DirectoryReader(tmp_path)) == {"good": 5}
