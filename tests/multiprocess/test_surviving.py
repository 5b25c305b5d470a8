"""Surviving: whatever lies in the directory costs itself only, is counted by reason and told."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metrics_commands.multiprocess.entries import HEADER, pack_entry
from metrics_commands.multiprocess.reader import DirectoryReader
from tests.multiprocess.files import (
    encode_key,
    is_up,
    pack_file,
    read_once,
    read_skipped,
    read_values,
    write_series,
    write_sparse,
)
from tests.multiprocess.somebody import NOBODY, Somebody, needs_root

GOOD = (encode_key("cut"), 1.0)
DAMAGED = pack_file([GOOD]) + pack_entry(encode_key("cut", "cut", {"x": "y"}), 2.0)
BAD_KEYS = {
    "no-json": b"no json",
    "open": b'["cut", "cut", {',
    "two": b'["cut","cut",{},""],["cut","cut",{},""]',
    "no-utf-8": b'["cut", "\xff", {}, "Help"]',
    "old-format": json.dumps(["cut", "cut", ["label"], ["value"]]).encode(),
    "three": b'["cut", "cut", {}]',
    "number": b"5",
    "null-labels": b'["cut", "cut", null, "Help"]',
    "label-of-number": b'["cut", "cut", {"x": 5}, "Help"]',
    "no-name": encode_key("", "cut"),
    "name-of-number": b'[5, "cut", {}, "Help"]',
    "deep": b"[" * 100_000,
    "lone-surrogate": b'["cut", "cut", {"x": "\\ud800"}, "Help"]',
    "empty-label-name": encode_key("cut", labels={"": "x"}),
    "reserved-label-name": encode_key("cut", labels={"__name__": "x"}),
    "reserved-when-escaped": encode_key("cut", labels={"_.name__": "x"}),
    "labels-equal-when-escaped": encode_key("cut", labels={"a.b": "x", "a-b": "y"}),
}


def write_bytes(content: bytes) -> Callable[[Path], object]:
    """Return what leaves a file with this content."""
    return lambda path: path.write_bytes(content)


def write_database(path: Path) -> None:
    """Leave an SQLite database."""
    connection = sqlite3.connect(path)
    connection.execute("create table metrics (value)")
    connection.close()


def bind_socket(path: Path) -> None:
    """Leave a socket; its name is relative, since those of sockets must be short."""
    with socket.socket(socket.AF_UNIX) as bound, tempfile.TemporaryDirectory() as short:
        bound.bind(f"{short}/s")
        Path(short, "s").rename(path)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "empty": ("empty", Path.touch),
    "one-byte": ("truncated", write_bytes(b"x")),
    "used-negative": ("foreign", write_bytes(pack_file([GOOD], used=-8))),
    "used-in-header": ("foreign", write_bytes(pack_file([GOOD], used=4))),
    "used-beyond": ("truncated", write_bytes(pack_file([GOOD], used=4096))),
    "database": ("truncated", write_database),
    "text": ("truncated", write_bytes(b"something else\n" * 500)),
    "zeros": ("foreign", write_bytes(pack_file([], used=1000) + bytes(4096))),
    "length-negative": ("foreign", write_bytes(HEADER.pack(64, 0) + struct.pack("=i", -9) * 20)),
    "sparse": ("foreign", write_sparse),
    "directory": ("not_a_file", Path.mkdir),
    "link": ("not_a_file", lambda path: path.symlink_to("counter_1.db")),
    "link-to-nothing": ("not_a_file", lambda path: path.symlink_to("nothing")),
    "pipe": ("not_a_file", os.mkfifo),
    "socket": ("not_a_file", bind_socket),
    **{name: ("bad_key", write_bytes(pack_file([(key, 7.0)]))) for name, key in BAD_KEYS.items()},
}


def remove(path: Path) -> None:
    """Remove whatever it is."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_costs_itself_is_told_once_and_recovers(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is served, the reason is a metric and one log line, and a repair is seen."""
    reason, damage = DAMAGES[name]
    write_series(tmp_path / "counter_1.db", 2.0)
    path = tmp_path / "counter_0.db"
    damage(path)
    reader = DirectoryReader(tmp_path)
    for _ in range(3):
        assert read_values(reader) == {"good": 2}
        assert read_skipped(reader) == {reason: 1}
    (message,) = caplog.messages
    assert str(path) in message
    assert reason in message
    remove(path)
    write_series(path, 3.0)
    assert read_values(reader) == {"good": 5}
    assert read_skipped(reader) == {}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_file_that_was_served_and_is_damaged_costs_itself(tmp_path: Path, name: str) -> None:
    """What replaces a file between two scrapes does not fail over what was read before."""
    reason, damage = DAMAGES[name]
    write_series(tmp_path / "counter_1.db", 2.0)
    path = tmp_path / "counter_0.db"
    write_series(path, 3.0)
    reader = DirectoryReader(tmp_path)
    assert read_values(reader) == {"good": 5}
    path.rename(tmp_path / "aside")
    damage(path)
    assert read_values(reader) == {"good": 2}
    assert read_skipped(reader) == {reason: 1}


@pytest.mark.parametrize("size", [0, 4, 40, 60, 100])
def test_a_file_that_shrinks_between_scrapes_costs_itself(tmp_path: Path, size: int) -> None:
    """Somebody who cuts a file in place ends neither the scrape nor the process."""
    write_series(tmp_path / "counter_1.db", 2.0)
    path = tmp_path / "counter_0.db"
    keys = [encode_key(f"cut_{number}") for number in range(500)]
    path.write_bytes(pack_file((key, 1.0) for key in keys))
    reader = DirectoryReader(tmp_path)
    assert len(read_values(reader)) == 501
    os.truncate(path, size)
    assert read_values(reader) == {"good": 2}
    assert read_skipped(reader) == {"truncated" if size else "empty": 1}
    write_series(path, 3.0)
    assert read_values(reader) == {"good": 5}


def test_what_comes_before_a_damage_is_served_and_what_follows_its_repair(tmp_path: Path) -> None:
    """A torn entry costs itself and what follows, until it is whole."""
    path = tmp_path / "counter_0.db"
    keys = [encode_key(f"cut_{number}") for number in range(3)]
    whole = pack_file((key, 1.0) for key in keys)
    second = len(pack_file([(keys[0], 1.0)]))
    torn = bytearray(whole)
    torn[second : second + 4] = struct.pack("=i", 2**30)
    path.write_bytes(torn)
    reader = DirectoryReader(tmp_path)
    assert read_values(reader) == {"cut_0": 1}
    assert read_skipped(reader) == {"truncated": 1}
    remove(path)
    path.write_bytes(whole)
    assert read_values(reader) == {"cut_0": 1, "cut_1": 1, "cut_2": 1}
    assert read_skipped(reader) == {}


def test_a_file_that_is_begun_after_it_was_empty_is_no_longer_counted(tmp_path: Path) -> None:
    """A worker that has not counted anything yet is no problem."""
    path = tmp_path / "counter_0.db"
    path.touch()
    reader = DirectoryReader(tmp_path)
    assert read_values(reader) == {}
    assert read_skipped(reader) == {"empty": 1}
    path.write_bytes(pack_file([]) + bytes(4088))
    assert read_values(reader) == {}
    assert read_skipped(reader) == {}


def test_keys_that_are_no_json_never_change_what_others_mean(tmp_path: Path) -> None:
    """Broken keys that together look like whole ones do not shift the names of good ones."""
    good = encode_key("good")
    keys = [b'["x","x",{},""],["evil","evil",{},""]', good, b'["x"', b'"x"]']
    (tmp_path / "counter_0.db").write_bytes(pack_file((key, 3.0) for key in keys))
    write_series(tmp_path / "counter_1.db", 2.0)
    reader = DirectoryReader(tmp_path)
    assert read_values(reader) == {"good": 5}
    assert read_skipped(reader) == {"bad_key": 1}


def test_a_file_name_that_is_no_text_harms_nobody(tmp_path: Path) -> None:
    """Names of other encodings are nothing that a page could show as a worker."""
    write_series(tmp_path / "counter_1.db", 2.0)
    shutil.copy(tmp_path / "counter_1.db", tmp_path / os.fsdecode(b"gauge_all_\xff.db"))
    assert read_once(tmp_path) == ({"good": 2}, {"foreign": 1})


def vanish(directory: Path) -> None:
    """Take the directory away."""
    directory.rename(directory.with_name("aside"))


def replace_by_file(directory: Path) -> None:
    """Put a file in the directory's place."""
    vanish(directory)
    directory.touch()


@pytest.mark.parametrize("lose", [vanish, replace_by_file])
def test_a_lost_directory_is_told_once_and_its_return_is_seen(
    tmp_path: Path, lose: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """While it is away a metric says so; another one in its place is read, not remembered."""
    caplog.set_level("INFO")
    directory = tmp_path / "metrics"
    directory.mkdir()
    write_series(directory / "counter_1.db", 2.0)
    reader = DirectoryReader(directory)
    assert read_values(reader) == {"good": 2}
    assert is_up(reader)
    lose(directory)
    for _ in range(3):
        assert read_values(reader) == {}
        assert not is_up(reader)
    assert len(caplog.messages) == 1
    directory.unlink(missing_ok=True)
    directory.mkdir()
    write_series(directory / "counter_1.db", 7.0)
    assert read_values(reader) == {"good": 7}
    assert is_up(reader)
    assert len(caplog.messages) == 2


def test_a_directory_that_is_swapped_for_another_is_read_anew(tmp_path: Path) -> None:
    """A release that moves a fresh directory into place is not answered from the old files."""
    for name, value in (("metrics", 2.0), ("fresh", 7.0)):
        (tmp_path / name).mkdir()
        write_series(tmp_path / name / "counter_1.db", value)
    reader = DirectoryReader(tmp_path / "metrics")
    assert read_values(reader) == {"good": 2}
    vanish(tmp_path / "metrics")
    (tmp_path / "fresh").rename(tmp_path / "metrics")
    assert read_values(reader) == {"good": 7}


def read_locked_out(directory: Path) -> list[tuple[dict[str, float], bool]]:
    """Return samples and state of a directory, then of one that may not be read, then again."""
    reader = DirectoryReader(directory)
    states = []
    for mode in (0o755, 0o000, 0o755):
        directory.chmod(mode)
        states.append((read_values(reader), is_up(reader)))
    return states


@needs_root
def test_a_directory_that_may_not_be_read_for_a_while_comes_back(place: Path) -> None:
    """Changed permissions cost the numbers only as long as they last."""
    directory = place / "metrics"
    directory.mkdir()
    write_series(directory / "counter_1.db", 2.0)
    os.chown(directory, NOBODY, -1)
    states, said = Somebody(NOBODY).call_and_listen(read_locked_out, directory)
    assert states == [({"good": 2.0}, True), ({}, False), ({"good": 2.0}, True)]
    assert said.count("\n") == 1


@needs_root
def test_a_file_that_may_not_be_read_is_counted(place: Path) -> None:
    """An exporter of another user serves what it may read and tells of the rest."""
    write_series(place / "counter_1.db", 2.0)
    write_series(place / "counter_2.db", 3.0)
    (place / "counter_2.db").chmod(0o600)
    answer, said = Somebody(NOBODY).call_and_listen(read_once, place)
    assert answer == ({"good": 2.0}, {"unreadable": 1})
    assert "counter_2.db" in said
    assert "Permission" in said
