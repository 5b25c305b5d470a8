"""Source files: kept open as far as descriptors reach, parsed once, and forgotten in time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.source import KeyCache, SourceFile
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.conftest import mounted
from tests.multiprocess.files import (
    encode_key,
    pack_file,
    read_skipped,
    read_values,
    read_with_few_descriptors,
    write_series,
)
from tests.multiprocess.somebody import Somebody, needs_root


@pytest.mark.parametrize("limit", [32, 300])
def test_more_files_than_descriptors_are_all_served(tmp_path: Path, limit: int) -> None:
    """A deployment of many workers needs no raised limit, at the first scrape and afterwards."""
    for number in range(400):
        write_series(tmp_path / f"counter_{number}.db", 1.0, x=str(number % 2))
    scrapes = Somebody().call(read_with_few_descriptors, tmp_path, limit, 3)
    assert scrapes == [({'good{x="0"}': 200.0, 'good{x="1"}': 200.0}, {})] * 3


@pytest.mark.parametrize("kept", [True, False])
def test_numbers_and_entries_that_come_later_are_seen(tmp_path: Path, kept: bool) -> None:
    """A file that grows past its first page is followed, whether or not it stays open."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    cache, source = KeyCache(), SourceFile(str(path), "counter", "1", kept=kept)
    for number in range(200):
        file.write_value(encode_key(f"name_{number}").decode(), 1.0, 0.0)
        assert source.update(cache)
        assert not source.update(cache)
        file.write_value(encode_key("name_0").decode(), float(number), 0.0)
        source.update(cache)
        assert source.view[source.layout.doubles[0]] == number
    file.close()
    assert [key.metric for key in source.layout.keys if key] == [
        f"name_{number}" for number in range(200)
    ]
    source.close()


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_of_the_same_size_and_another_inode_is_read_anew(tmp_path: Path, kept: bool) -> None:
    """A worker whose name comes back does not get the labels of the one before."""
    path = tmp_path / "counter_1.db"
    cache, source = KeyCache(), SourceFile(str(path), "counter", "1", kept=kept)
    for name in ("before", "behind", "before"):
        write_series(tmp_path / "draft", 1.0, name)
        os.replace(tmp_path / "draft", path)
        assert source.update(cache)
        assert [key.metric for key in source.layout.keys if key] == [name]
    source.close()


@needs_root
def test_a_file_system_mounted_over_the_directory_is_read_anew(place: Path) -> None:
    """Inode numbers repeat from one file system to the next, and mean nothing there."""
    directories = [place / "metrics", place / "other"]
    with (
        mounted(directories[0], "-t", "tmpfs", "none"),
        mounted(directories[1], "-t", "tmpfs", "none"),
    ):
        for directory, value in zip(directories, (2.0, 7.0), strict=True):
            write_series(directory / "counter_1.db", value)
        assert len({(each / "counter_1.db").stat().st_ino for each in directories}) == 1
        link = place / "current"
        link.symlink_to(directories[0])
        reader = DirectoryReader(link)
        assert read_values(reader) == {"good": 2}
        link.unlink()
        link.symlink_to(directories[1])
        assert read_values(reader) == {"good": 7}


def test_workers_that_met_the_same_keys_share_what_is_parsed(tmp_path: Path) -> None:
    """Memory and the first scrape grow with different keys, not with workers."""
    keys = [encode_key(f"name_{number}") for number in range(50)]
    cache = KeyCache()
    sources = []
    for worker in range(5):
        path = tmp_path / f"counter_{worker}.db"
        order = keys if worker < 4 else [*reversed(keys)]
        path.write_bytes(pack_file((key, float(worker)) for key in order))
        sources.append(SourceFile(str(path), "counter", str(worker)))
        sources[-1].update(cache)
    assert len({id(source.layout) for source in sources}) == 2
    assert len(cache.keys) == 50
    for source in sources:
        source.close()


def test_label_sets_that_come_and_go_do_not_pile_up(tmp_path: Path) -> None:
    """After ten thousand label sets of workers that are gone, only the last ones are kept."""
    reader = DirectoryReader(tmp_path)
    for generation in range(20):
        keys = [encode_key("good", labels={"x": f"{generation}-{each}"}) for each in range(500)]
        (tmp_path / f"counter_{generation}.db").write_bytes(pack_file((key, 1.0) for key in keys))
        (tmp_path / f"counter_{generation - 1}.db").unlink(missing_ok=True)
        assert len(read_values(reader)) == 500
    assert len(reader._cache.keys) <= 2000
    assert sum(map(len, reader._cache.layouts.values())) == 1


def test_a_worker_that_grows_scrape_by_scrape_leaves_no_layouts_behind(tmp_path: Path) -> None:
    """A file with one more series at each scrape costs what it has, not the sum of its past."""
    reader = DirectoryReader(tmp_path)
    file = ValueFile(str(tmp_path / "counter_1.db"))
    for number in range(100):
        file.write_value(encode_key("good", labels={"x": str(number)}).decode(), 1.0, 0.0)
        assert len(read_values(reader)) == number + 1
        assert sum(map(len, reader._cache.layouts.values())) == 1
    file.close()


def test_what_a_file_was_once_refused_for_is_not_said_of_another_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file is told again when it is damaged in another way, with the present reason only."""
    path = tmp_path / "counter_0.db"
    reader = DirectoryReader(tmp_path)
    for content, reason in ((b"", "empty"), (b"xy", "truncated"), (b"", "empty")):
        path.write_bytes(content)
        read_values(reader)
        assert read_skipped(reader) == {reason: 1}
    assert [
        reason in message
        for reason, message in zip(("empty", "truncated", "empty"), caplog.messages, strict=True)
    ] == [True] * 3
