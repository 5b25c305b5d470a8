"""Value files: prometheus_client's format, on disks that are full and among strangers."""

from __future__ import annotations

import math
import mmap
import os
import stat
import struct
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict

from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.conftest import mounted
from tests.multiprocess.somebody import NOBODY, SHARED_GROUP, Somebody, needs_root
from tests.multiprocess.writers import key_of, write_many_files, write_one, write_too_much

LOGGED = "stay in its memory"

Entry = tuple[str, float, float]
writes = st.lists(st.tuples(st.text(max_size=40), st.floats(), st.floats()), max_size=30)


def read(path: Path) -> list[Entry]:
    """Return a file's entries, as prometheus_client reads them."""
    entries = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return [(key, value, timestamp) for key, value, timestamp, _ in entries]


def used_bytes(path: Path) -> bytes:
    """Return the part of a file that its header says is used."""
    content = path.read_bytes()
    return content[: struct.unpack_from("=i", content)[0]]


@settings(max_examples=30, deadline=None)
@given(writes)
def test_writes_the_bytes_that_prometheus_client_writes(sequence: list[Entry]) -> None:
    """Any reader of prometheus_client's files reads ours, whatever the keys and numbers."""
    with tempfile.TemporaryDirectory() as name:
        paths = Path(name, "counter_ours.db"), Path(name, "counter_theirs.db")
        ours = ValueFile(str(paths[0]))
        theirs = MmapedDict(str(paths[1]))  # type: ignore[no-untyped-call]
        for key, value, timestamp in sequence:
            ours.write_value(key, value, timestamp)
            theirs.write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
        seen = [ours.read_value(key) for key, _, _ in sequence]
        ours.close()
        theirs.close()  # type: ignore[no-untyped-call]
        last = {key: (value, timestamp) for key, value, timestamp in sequence}
        assert repr(read(paths[0])) == repr([(key, *last[key]) for key in last])
        assert repr(seen) == repr([last[key] for key, _, _ in sequence])
        assert used_bytes(paths[0]) == used_bytes(paths[1])


class Interrupted:
    """A map that is stored into a number of times until a signal handler raises."""

    def __init__(self, inner: mmap.mmap, stores: int) -> None:
        self._inner = inner
        self._left = stores

    def __setitem__(self, place: slice, content: bytes) -> None:
        self._inner[place] = content
        self._left -= 1
        if not self._left:
            raise TimeoutError


@pytest.mark.parametrize("stores", [1, 2])
def test_a_signal_handler_that_raises_moves_no_entry(tmp_path: Path, stores: int) -> None:
    """What readers may have seen stays where it is, whatever is written next."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    file.write_value("one", 1.0, 0.0)
    whole: Any = file._map
    file._map = cast(Any, Interrupted(whole, stores))
    with pytest.raises(TimeoutError):
        file.write_value("two", 2.0, 0.0)
    file._map = whole
    seen = used_bytes(path)
    file.write_value("six", 6.0, 0.0)
    file.close()
    assert used_bytes(path).startswith(seen[4:], 4)
    assert ("six", 6.0, 0.0) in read(path)


class Closing(mmap.mmap):
    """A map at whose end a signal handler raises."""

    def close(self) -> None:
        super().close()
        raise RuntimeError


def test_a_signal_handler_that_raises_while_a_file_grows_costs_no_later_number(
    tmp_path: Path,
) -> None:
    """The larger map is there before the smaller one goes."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    file._map = Closing(file._descriptor, file._capacity)
    with pytest.raises(RuntimeError):
        file.write_value("k" * file._capacity, 1.0, 0.0)
    file.write_value("two", 2.0, 0.0)
    file.close()
    assert read(path) == [("two", 2.0, 0.0)]


def test_a_key_that_is_read_first_is_there_at_zero(tmp_path: Path) -> None:
    """A metric that has counted nothing yet is in the scrape, as with prometheus_client."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    assert file.read_value("key") == (0.0, 0.0)
    assert read(path) == [("key", 0.0, 0.0)]
    file.close()


def test_grows_over_many_pages(tmp_path: Path) -> None:
    """Thousands of series, and one whose labels alone fill pages, are all read back."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    keys = [*map(key_of, range(1500)), "long" * 100_000, *map(key_of, range(1500, 3000))]
    for number, key in enumerate(keys):
        file.write_value(key, float(number), 1.0)
    file.write_value(keys[0], math.inf, 2.0)
    file.close()
    expected = [(key, float(number), 1.0) for number, key in enumerate(keys)]
    assert read(path) == [(keys[0], math.inf, 2.0), *expected[1:]]


def test_keeps_values_on_disk_when_closed_and_harms_nobody_afterwards(tmp_path: Path) -> None:
    """A worker that counts on while it shuts down does not fail, and loses nothing written."""
    path = tmp_path / "counter_1.db"
    file = ValueFile(str(path))
    file.write_value("key", 1.0, 0.0)
    file.close()
    file.write_value("key", 2.0, 0.0)
    file.write_value("other", 3.0, 0.0)
    assert file.read_value("other") == (3.0, 0.0)
    file.close()
    assert read(path) == [("key", 1.0, 0.0)]


@pytest.mark.parametrize("writer", [ValueFile, MmapedDict])
def test_goes_on_with_a_file_of_the_same_identity(tmp_path: Path, writer: type[ValueFile]) -> None:
    """Who names workers by number has the next one go on where the last one ended."""
    path = tmp_path / "counter_1.db"
    first = writer(str(path))
    first.write_value(key_of(1), 5.0, 0.0)
    first.close()
    second = ValueFile(str(path))
    assert second.read_value(key_of(1)) == (5.0, 0.0)
    second.write_value(key_of(2), 1.0, 2.0)
    second.close()
    assert [(value, stamp) for _, value, stamp in read(path)] == [(5.0, 0.0), (1.0, 2.0)]


@pytest.mark.parametrize(
    ("content", "kept"),
    [(b"", True), (bytes(65536), True), (b"SQLite format 3\0" * 4, False), (b"\x28", False)],
    ids=["empty", "zeros", "foreign", "one byte"],
)
def test_a_strange_file_in_its_place_harms_nobody(
    tmp_path: Path, content: bytes, kept: bool
) -> None:
    """A file that was never begun is begun; one of another kind stays as it is."""
    path = tmp_path / "counter_1.db"
    path.write_bytes(content)
    file = ValueFile(str(path))
    file.write_value(key_of(1), 5.0, 0.0)
    assert file.read_value(key_of(1)) == (5.0, 0.0)
    file.close()
    if kept:
        assert read(path) == [(key_of(1), 5.0, 0.0)]
    else:
        assert path.read_bytes() == content


def assert_overflow_was_harmless(path: Path, seen: list[float], said: str) -> None:
    """Check that a writer kept all in memory, on disk what fitted, and said so once."""
    assert seen == [2.0] * len(seen)
    entries = read(path)
    assert 100 < len(entries) < len(seen)
    assert entries == [(key_of(number), 2.0, 0.0) for number in range(len(entries))]
    assert said.count("\n") == said.count(LOGGED) == 1


@needs_root
def test_a_full_disk_costs_only_what_does_not_fit(small_disk: Path) -> None:
    """On a full tmpfs the worker lives, old series go on being written, and one line tells."""
    path = small_disk / "counter_1.db"
    assert_overflow_was_harmless(path, *Somebody().call_and_listen(write_too_much, path))


def test_a_limit_on_file_sizes_costs_only_what_does_not_fit(tmp_path: Path) -> None:
    """A worker under `ulimit -f` lives as well."""
    path = tmp_path / "counter_1.db"
    assert_overflow_was_harmless(path, *Somebody().call_and_listen(write_too_much, path, 100_000))


@needs_root
def test_a_disk_that_was_full_before_gets_no_file(small_disk: Path) -> None:
    """A worker that starts on a full disk counts in memory and leaves nothing half-made."""
    space = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(space.f_bavail * space.f_frsize))
    path = small_disk / "counter_1.db"
    seen, said = Somebody().call_and_listen(write_one, path)
    assert seen == 3.0
    assert said.count("\n") == said.count(LOGGED) == 1
    assert [each.name for each in small_disk.iterdir()] == ["ballast"]


@needs_root
def test_a_file_system_that_cannot_reserve_blocks_is_used_all_the_same(place: Path) -> None:
    """On ramfs, as on some network file systems, values still reach the exporter."""
    with mounted(place / "ram", "-t", "ramfs", "none") as directory:
        path = directory / "counter_1.db"
        seen, said = Somebody().call_and_listen(write_one, path)
        assert (seen, said) == (3.0, "")
        assert read(path) == [(key_of(0), 3.0, 0.0)]


@pytest.mark.parametrize("obstacle", ["missing", "file", "link"])
def test_a_directory_that_is_none_costs_no_request(tmp_path: Path, obstacle: str) -> None:
    """Somebody who removes or replaces the directory while workers run stops no worker."""
    directory = tmp_path / "metrics"
    if obstacle == "file":
        directory.write_text("in the way")
    elif obstacle == "link":
        directory.symlink_to(tmp_path / "nowhere")
    seen, said = Somebody().call_and_listen(write_one, directory / "counter_1.db")
    assert seen == 3.0
    assert said.count("\n") == said.count(LOGGED) == 1


def test_readers_never_see_a_file_that_is_empty_or_half_made(tmp_path: Path) -> None:
    """A scrape while workers start reads every file it finds, and whole entries only."""
    known = {key_of(number) for number in range(60)}
    seen = 0
    with Somebody().start(write_many_files, tmp_path) as writer:
        while writer.poll() is None:
            for path in list(tmp_path.glob("*.db"))[-3:]:
                entries = read(path)
                seen += len(entries)
                assert {key for key, _, _ in entries} <= known
                assert {value for _, value, _ in entries} <= {0.0, 7.0}
    assert writer.returncode == 0
    assert seen
    assert len(list(tmp_path.iterdir())) == 150


@needs_root
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(
    ("group", "mode", "expected"),
    [
        pytest.param(SHARED_GROUP, 0o2770, 0o660, id="shared-by-our-group"),
        pytest.param(SHARED_GROUP, 0o0770, 0o644, id="not-setgid"),
        pytest.param(SHARED_GROUP + 1, 0o2777, 0o644, id="setgid-to-others"),
    ],
)
def test_mode_follows_the_directory(
    place: Path, group: int, mode: int, expected: int, umask: int
) -> None:
    """Users of a shared group read each other's files; nobody else ever writes into them."""
    directory = place / "metrics"
    directory.mkdir()
    os.chown(directory, 0, group)
    directory.chmod(mode)
    path = directory / "counter_1.db"
    worker = Somebody(NOBODY, (SHARED_GROUP,), umask)
    assert worker.call_and_listen(write_one, path) == (3.0, "")
    found = path.stat()
    assert found.st_uid == NOBODY
    if expected == 0o660:
        assert found.st_gid == SHARED_GROUP
        assert stat.S_IMODE(found.st_mode) == expected
    else:
        assert stat.S_IMODE(found.st_mode) == expected & ~umask


@pytest.mark.parametrize("suffix", ["", ".new"])
@pytest.mark.parametrize("there", [True, False])
def test_links_are_never_followed(tmp_path: Path, suffix: str, there: bool) -> None:
    """A link planted under the name of a value file has nothing written through it."""
    target = tmp_path / "target"
    if there:
        target.write_bytes(b"precious")
    directory = tmp_path / "metrics"
    directory.mkdir()
    (directory / f"counter_1.db{suffix}").symlink_to(target)
    file = ValueFile(str(directory / "counter_1.db"))
    file.write_value("key", 1.0, 0.0)
    assert file.read_value("key") == (1.0, 0.0)
    file.close()
    assert target.exists() == there
    assert not there or target.read_bytes() == b"precious"
