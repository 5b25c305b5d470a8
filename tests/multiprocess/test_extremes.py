"""Extremes: files of any size and any bytes take neither the scrape nor much time or memory."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.multiprocess.reader import DirectoryReader
from tests.multiprocess.files import (
    encode_key,
    measure_reading,
    pack_file,
    read_once,
    read_values,
    write_series,
    write_sparse,
)
from tests.multiprocess.somebody import Somebody


def write_many(path: Path, count: int, *, same: bool) -> None:
    """Leave a file of so many label sets, or of one so many times."""
    keys = (encode_key("big", labels={"x": "0" if same else str(each)}) for each in range(count))
    path.write_bytes(pack_file((key, 1.0) for key in keys))


@pytest.mark.parametrize(("same", "entries"), [(False, 100_000), (True, 30_000)])
def test_very_many_entries_in_one_file_take_seconds(
    tmp_path: Path, same: bool, entries: int
) -> None:
    """A label with too many values, or a file that repeats itself, does not take it down."""
    write_series(tmp_path / "counter_1.db", 2.0)
    write_many(tmp_path / "counter_2.db", entries, same=same)
    count, skipped, seconds, megabytes = Somebody().call(measure_reading, tmp_path)
    assert (count, skipped) == (2 if same else entries + 1, {})
    assert seconds < 10
    assert megabytes < 300


def test_two_gigabytes_of_nothing_take_neither_memory_nor_time(tmp_path: Path) -> None:
    """A sparse file that claims to be one long key is not copied."""
    write_series(tmp_path / "counter_1.db", 2.0)
    write_sparse(tmp_path / "counter_2.db")
    count, skipped, seconds, megabytes = Somebody().call(measure_reading, tmp_path)
    assert (count, skipped) == (1, {"foreign": 1})
    assert seconds < 2
    assert megabytes < 50


def test_names_of_ten_thousand_characters_are_served(tmp_path: Path) -> None:
    """Length alone is no reason to leave anything out."""
    name, label, value = "n" * 10_000, "l" * 10_000, "é" * 10_000
    write_series(tmp_path / "counter_1.db", 2.0, name, **{label: value})
    assert read_once(tmp_path) == ({f'{name}{{{label}="{value}"}}': 2}, {})


def change_bytes(content: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    """Return a file with bytes overwritten, from its header on or anywhere."""
    changed = bytearray(content)
    for position, replacement in changes:
        start = position % len(changed)
        changed[start : start + len(replacement)] = replacement
    return bytes(changed)


FILE = pack_file(
    (encode_key(name, sample, labels), 1.0)
    for name, sample, labels in (
        ("h", "h_bucket", {"le": "1.0", "x": "a"}),
        ("h", "h_bucket", {"le": "+Inf", "x": "a"}),
        ("h", "h_sum", {"x": "a"}),
        ("i", "i_sum", {}),
    )
)
mutations = st.lists(
    st.tuples(st.integers(0, len(FILE)), st.binary(min_size=1, max_size=4)), max_size=4
).map(lambda changes: change_bytes(FILE, changes))
KINDS = ("counter", "summary", "histogram", "gauge_all", "gauge_max", "gauge_mostrecent")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            mutations,
            st.integers(0, len(FILE)).map(lambda size: FILE[:size]),
            st.lists(st.tuples(st.binary(max_size=30), st.floats()), max_size=4).map(pack_file),
        ),
        max_size=3,
    ),
)
def test_no_bytes_whatsoever_stop_a_scrape_or_change_other_numbers(
    kind: str, contents: list[bytes]
) -> None:
    """Bytes of any kind, replaced in place between scrapes, leave the other files' numbers."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, f"{kind}_0.db")
        write_series(Path(name, "counter_1.db"), 2.0, "of_others")
        Path(name, f"{kind}_2.db").write_bytes(FILE)
        reader = DirectoryReader(Path(name))
        start = time.monotonic()
        for content in contents:
            path.write_bytes(content)
            assert read_values(reader)["of_others"] == 2
        path.unlink(missing_ok=True)
        assert read_once(Path(name))[0] == read_values(reader)
        assert time.monotonic() - start < 5
