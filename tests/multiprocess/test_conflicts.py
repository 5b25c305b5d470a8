"""Files that contradict each other: Prometheus is never given a page that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metrics_commands.multiprocess.reader import DirectoryReader
from tests.multiprocess.files import (
    encode_key,
    pack_file,
    read_skipped,
    read_values,
)

Files = dict[str, list[tuple[str, str, dict[str, str], str]]]

QUARRELS: dict[str, tuple[Files, dict[str, float], dict[str, float]]] = {
    "types": (
        {
            "counter_1": [("a", "a_total", {}, "")],
            "counter_2": [("a", "a_total", {}, "")],
            "gauge_sum_3": [("a", "a", {}, ""), ("b", "b", {}, "")],
        },
        {"a_total": 2, "b": 1},
        {"conflict": 1},
    ),
    "names-after-escaping": (
        {"counter_1": [("a.b", "a.b_total", {}, ""), ("a-b", "a-b_total", {}, "")]},
        {"a_b_total": 1},
        {"conflict": 1},
    ),
    "labels-after-escaping": (
        {"counter_1": [("a", "a", {"x.y": "1"}, "")], "counter_2": [("a", "a", {"x-y": "1"}, "")]},
        {'a{x_y="1"}': 1},
        {"duplicate": 1},
    ),
    "family-and-series": (
        {
            "summary_1": [("a", "a_sum", {}, ""), ("a", "a_count", {}, "")],
            "gauge_sum_2": [("a_sum", "a_sum", {}, "")],
        },
        {"a_sum": 1, "a_count": 1},
        {"duplicate": 1},
    ),
    "one-series-of-two-metrics": (
        {"counter_1": [("a", "same", {}, ""), ("b", "same", {}, ""), ("c", "c", {}, "")]},
        {"same": 1, "c": 1},
        {"duplicate": 1},
    ),
    "help": (
        {"counter_1": [("a", "a", {}, "One")], "counter_2": [("a", "a", {}, "Two")]},
        {"a": 2},
        {"other_help": 1},
    ),
}


@pytest.mark.parametrize("name", QUARRELS)
def test_files_that_contradict_each_other_leave_a_page_that_prometheus_takes(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two things under one name one is served, and the files are counted and told."""
    files, values, skipped = QUARRELS[name]
    for file, keys in files.items():
        content = pack_file((json.dumps(key).encode(), 1.0) for key in keys)
        (tmp_path / f"{file}.db").write_bytes(content)
    reader = DirectoryReader(tmp_path)
    for _ in range(2):
        assert read_values(reader) == values
        assert read_skipped(reader) == skipped
    assert len(caplog.messages) == sum(skipped.values())


def test_the_archives_help_yields_to_that_of_the_living(tmp_path: Path) -> None:
    """A release with a new help text shows it at once, and is no conflict."""
    for worker, text in (("archive", "Old"), ("zz", "New")):
        key = encode_key("good", documentation=text)
        (tmp_path / f"counter_{worker}.db").write_bytes(pack_file([(key, 1.0)]))
    reader = DirectoryReader(tmp_path)
    assert "# HELP good_total New\n" in reader.read().render().decode()
    assert read_values(reader) == {"good": 2}
    assert read_skipped(reader) == {}
