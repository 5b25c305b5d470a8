"""The page of the merged numbers in every format is what prometheus_client writes of them."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_peer
from prometheus_client.openmetrics.exposition import ALLOWUTF8, DOTS, UNDERSCORES, VALUES
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.table import Merged
from tests.multiprocess.applications import flatten, read_theirs, run_workers
from tests.multiprocess.files import encode_key, pack_file, read_skipped, write_series
from tests.multiprocess.somebody import Somebody
from tests.multiprocess.test_merging import Declared, Peer, Write, deployments, working

ESCAPINGS = (UNDERSCORES, ALLOWUTF8, DOTS, VALUES)
FORMATS = [(openmetrics, escaping) for openmetrics in (False, True) for escaping in ESCAPINGS]


def list_headers(page: str) -> list[str]:
    """Return a page's HELP and TYPE lines, of each family together."""
    lines = page.removesuffix("# EOF\n").split("\n")
    return sorted("\n".join(pair) for pair in pairwise(lines) if pair[0].startswith("# HELP"))


def list_samples(page: str) -> list[tuple[str, str]]:
    """Return how series are written, with their numbers."""
    lines = [line for line in page.split("\n") if line and not line.startswith("#")]
    parts = [line.rpartition(" ") for line in lines]
    return sorted((series, repr(float(number))) for series, _, number in parts)


def render(merged: Merged, openmetrics: bool, escaping: str, *names: str) -> str:
    """Return a page."""
    return merged.render(openmetrics=openmetrics, escaping=escaping, names=names).decode()


@settings(max_examples=40, deadline=None)
@given(deployments(), st.permutations(FORMATS))
def test_every_format_is_as_prometheus_client_writes_it(
    deployment: tuple[list[Declared], list[list[Write]]], formats: list[tuple[bool, str]]
) -> None:
    """Names are escaped and quoted, and help texts written, as Prometheus expects of the format."""
    metrics, rounds = deployment
    with working() as workers:
        reader = DirectoryReader(workers.directory)
        for writes in rounds:
            for each in writes:
                workers.write(metrics[each.metric], each)
            merged, peer = reader.read(), Peer(workers.directory)
            for openmetrics, escaping in formats:
                page = render(merged, openmetrics, escaping)
                # Of samples in OpenMetrics prometheus_client escapes names that need it not.
                text = theirs = generate_latest(peer, escaping).decode()
                if openmetrics:
                    theirs = openmetrics_peer.generate_latest(peer, escaping).decode()  # type: ignore[no-untyped-call]
                assert list_headers(page) == list_headers(theirs)
                assert list_samples(page) == list_samples(text)
                assert render(merged, openmetrics, escaping, *merged.names) == page


def test_openmetrics_is_read_by_prometheus_clients_parser(tmp_path: Path) -> None:
    """Every type and gauge mode is a family of OpenMetrics, with all samples of one label set."""
    Somebody().call(run_workers, tmp_path, 4)
    for worker in ("1", "2"):
        keys = [
            encode_key("size", f"size_{part}", {"kind": kind})
            for part in ("count", "sum")
            for kind in ("a", "b")
        ]
        (tmp_path / f"summary_{worker}.db").write_bytes(pack_file((key, 1.0) for key in keys))
    page = render(DirectoryReader(tmp_path).read(), True, ALLOWUTF8) + "# EOF\n"
    families = list(text_string_to_metric_families(page))  # type: ignore[no-untyped-call]
    assert flatten(families) == read_theirs(tmp_path)


@pytest.mark.parametrize(("openmetrics", "escaping"), FORMATS)
def test_no_name_breaks_its_line(tmp_path: Path, openmetrics: bool, escaping: str) -> None:
    """Also a name that ends in a newline, which prometheus_client takes for legal."""
    write_series(tmp_path / "counter_1.db", 2.0, "of\nothers\n", **{"label\n": "x"})
    page = render(DirectoryReader(tmp_path).read(), openmetrics, escaping)
    assert [line.split()[0] == "#" for line in page.splitlines()] == [True, True, False]
    assert page.endswith(" 2.0\n")


@pytest.fixture
def merged(tmp_path: Path) -> Merged:
    """Return a counter, a histogram, and a gauge whose name is to be escaped."""
    write_series(tmp_path / "counter_1.db", 1.0, "a")
    bucket = encode_key("h", "h_bucket", {"le": "+Inf"})
    (tmp_path / "histogram_1.db").write_bytes(
        pack_file([(bucket, 1.0), (encode_key("h", "h_sum"), 1.0)])
    )
    write_series(tmp_path / "gauge_sum_1.db", 1.0, "d.e")
    return DirectoryReader(tmp_path).read()


def list_names(page: bytes) -> list[str]:
    """Return the names of a page's families and samples."""
    lines = page.decode().replace("{", " ").splitlines()
    return [each.split()[0 if each[0] != "#" else 2] for each in lines if "# HELP" not in each]


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a"], ["a"]),
        (["a_total"], ["a"]),
        (["h"], ["h_bucket", "h_count", "h_sum"]),
        (["h_bucket"], ["h_bucket"]),
        (["h_sum", "h_count", "nothing"], ["h_count", "h_sum"]),
        (["d.e"], ["d_e"]),
        (["d_e", "h_sum"], ["d_e", "h_sum"]),
        (["nothing", ""], []),
    ],
)
def test_a_page_can_be_asked_for_by_name(
    merged: Merged, openmetrics: bool, names: list[str], expected: list[str]
) -> None:
    """A family's name, as any format shows it, has all of it; a sample's name has that sample."""
    page = merged.render(openmetrics=openmetrics, names=names)
    shown = [line for line in page.decode().splitlines() if not line.startswith("#")]
    assert list_names("\n".join(shown).encode()) == expected
    assert page.count(b"# TYPE") == len({each.partition("_")[0] for each in expected})


@pytest.mark.parametrize(
    ("skip", "gone_in_text", "gone_in_openmetrics"),
    [
        ({"a"}, "a", "a"),
        ({"a_total"}, "a", "a"),
        ({"a_created"}, "", "a"),
        ({"h_sum"}, "", "h"),
        ({"d.e"}, "d", "d"),
        ({"d_e", "other"}, "d", "d"),
        ({"other"}, "", ""),
    ],
)
def test_what_others_have_on_the_page_is_left_out(
    merged: Merged, skip: set[str], gone_in_text: str, gone_in_openmetrics: str
) -> None:
    """A name stands on the page once, also if its two families come from different rooms."""
    for openmetrics, gone in ((False, gone_in_text), (True, gone_in_openmetrics)):
        page = merged.render(skip, openmetrics=openmetrics)
        assert {each[0] for each in list_names(page)} == {"a", "h", "d"} - {gone}


def test_what_openmetrics_has_no_name_for_is_left_out_of_it_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A parser of OpenMetrics refuses the page over such a name; the older format shows it."""
    write_series(tmp_path / "counter_1.db", 1.0, "a")
    write_series(tmp_path / "gauge_sum_2.db", 1.0, "a_created")
    reader = DirectoryReader(tmp_path)
    for _ in range(2):
        merged = reader.read()
        assert list_names(merged.render()) == ["a_total", "a", "a_created", "a_created"]
        assert list_names(merged.render(openmetrics=True)) == ["a", "a"]
        assert read_skipped(reader) == {"clash": 1}
    assert len(caplog.messages) == 1


def test_a_second_format_shares_the_first_ones_memory(tmp_path: Path) -> None:
    """Prometheus and a person with curl do not cost twice what one of them does."""
    keys = [encode_key("big", labels={"x": f"{each:0100}"}) for each in range(5000)]
    (tmp_path / "counter_1.db").write_bytes(pack_file((key, 1.0) for key in keys))
    merged = DirectoryReader(tmp_path).read()
    size = len(merged.render(openmetrics=True, escaping=ALLOWUTF8))
    tracemalloc.start()
    for openmetrics in (False, True):
        for escaping in (UNDERSCORES, VALUES, ALLOWUTF8):
            merged.render(openmetrics=openmetrics, escaping=escaping)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < size / 4
