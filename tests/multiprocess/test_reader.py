"""Reading a directory: all workers together, and one bad file costing only itself."""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path

import pytest

from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.applications import (
    GAUGE_MODES,
    Families,
    read_ours,
    read_theirs,
    run_workers,
)
from tests.multiprocess.somebody import NOBODY, Somebody, needs_root
from tests.multiprocess.writers import key_of

WORKERS = 4


def write_counter(path: Path, value: float) -> None:
    """Leave a worker's value file with one counter."""
    file = ValueFile(str(path))
    file.write_value(key_of(0), value, 0.0)
    file.close()


def read_counter(reader: DirectoryReader) -> float:
    """Return that counter, summed over the workers."""
    (family,) = reader.read_families()
    (sample,) = family.samples
    return sample.value


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that several workers have written into."""
    directory = tmp_path_factory.mktemp("served")
    Somebody().call(run_workers, directory, WORKERS)
    return directory


def test_is_equal_to_prometheus_clients_collector(served: Path) -> None:
    """Every type and gauge mode comes out as with MultiProcessCollector on the same files."""
    ours = read_ours(served)
    assert ours == read_theirs(served)
    assert len(ours) == 3 + len(GAUGE_MODES)


def test_counts_of_all_workers_are_exact(served: Path) -> None:
    """Counters, sums and buckets add up over processes that were forked while counting."""
    ours = read_ours(served)
    kind = frozenset({("kind", "any")})
    orders, sizes, waits = (ours[name][2] for name in ("orders", "size_bytes", "wait_seconds"))
    assert orders["orders_total", frozenset({("kind", 'a "quoted" \\ kind')})] == 10 * WORKERS
    assert orders["orders_total", frozenset({("kind", "of worker 1")})] == 0.5 * WORKERS / 2
    assert sizes == {
        ("size_bytes_count", frozenset()): WORKERS,
        ("size_bytes_sum", frozenset()): 100 * WORKERS,
    }
    assert waits["wait_seconds_count", kind] == 4 * WORKERS
    assert waits["wait_seconds_sum", kind] == 55.55 * WORKERS
    for number, bound in enumerate(("0.1", "1.0", "10.0", "+Inf"), 1):
        assert waits["wait_seconds_bucket", kind | {("le", bound)}] == number * WORKERS
    assert (ours["orders"][0], ours["orders"][1]) == ("counter", "Orders\nin é")


def test_gauges_follow_their_modes(served: Path) -> None:
    """A gauge is the smallest, largest, sum or last of all workers, or one sample for each."""
    ours = read_ours(served)
    values = {mode: sorted(ours[f"depth_{mode}"][2].values()) for mode in GAUGE_MODES}
    everyone = [float(number + 1) for number in range(WORKERS)]
    assert values == {
        "all": everyone,
        "liveall": everyone,
        "min": [1],
        "max": [WORKERS],
        "sum": [sum(everyone)],
        "livesum": [sum(everyone)],
        "mostrecent": [WORKERS],
    }


def test_counts_processes_and_not_files(served: Path) -> None:
    """The start lines tell how many workers wrote, each of them into a file for every type."""
    reader = DirectoryReader(served)
    assert reader.count_workers() == WORKERS
    assert len(list(served.glob("*.db"))) > WORKERS


def make_broken(path: Path, kind: str) -> None:
    """Leave something in the way that is called a value file."""
    if kind == "empty":
        path.touch()
    elif kind == "truncated":
        write_counter(path, 1.0)
        os.truncate(path, 60)
    elif kind == "cut-in-the-numbers":
        write_counter(path, 1.0)
        os.truncate(path, struct.unpack_from("=i", path.read_bytes())[0] - 4)
    elif kind == "zeroed":
        path.write_bytes(struct.pack("=i", 1000) + bytes(4092))
    elif kind == "sqlite":
        connection = sqlite3.connect(path)
        connection.execute("create table metrics (value)")
        connection.close()
    elif kind == "foreign":
        path.write_bytes(b"something else\n" * 500)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link-to-itself":
        path.symlink_to(path)
    else:
        os.mkfifo(path)


BROKEN_FILES = ("empty", "truncated", "cut-in-the-numbers", "zeroed", "sqlite", "foreign")
NO_FILES = ("directory", "link-to-itself", "pipe")


@pytest.mark.parametrize("name", ["counter_0.db", "gauge_all_9.db", "notes.db"])
@pytest.mark.parametrize("kind", BROKEN_FILES)
def test_a_broken_file_costs_only_itself_and_is_told_once(
    tmp_path: Path, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a crash or another program leaves there is named in the log; the rest is served."""
    write_counter(tmp_path / "counter_1.db", 2.0)
    write_counter(tmp_path / "counter_2.db", 3.0)
    make_broken(tmp_path / name, kind)
    reader = DirectoryReader(tmp_path)
    assert [read_counter(reader) for _ in range(3)] == [5.0] * 3
    (message,) = caplog.messages
    assert name in message
    (tmp_path / name).unlink()
    assert read_counter(reader) == 5.0


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_never_opened(tmp_path: Path, kind: str) -> None:
    """A pipe that is called a value file does not stop the scrape for ever."""
    write_counter(tmp_path / "counter_1.db", 2.0)
    make_broken(tmp_path / "counter_0.db", kind)
    families: Families = Somebody().call(read_ours, tmp_path)
    assert [list(samples.values()) for _, _, samples in families.values()] == [[2.0]]
    assert DirectoryReader(tmp_path).count_workers() == 1


def test_a_file_that_was_repaired_is_served_again(tmp_path: Path) -> None:
    """A file is judged at every scrape, so one that was bad for a moment is not lost."""
    write_counter(tmp_path / "counter_1.db", 2.0)
    path = tmp_path / "counter_2.db"
    path.touch()
    reader = DirectoryReader(tmp_path)
    assert read_counter(reader) == 2.0
    write_counter(path, 3.0)
    assert read_counter(reader) == 5.0


def test_files_of_another_name_are_left_alone(tmp_path: Path) -> None:
    """The lock, and files that a worker has only begun, are no value files."""
    for name in ("exporter.lock", "counter_2.db.new", "README"):
        (tmp_path / name).write_text("no numbers")
    write_counter(tmp_path / "counter_1.db", 2.0)
    assert read_counter(DirectoryReader(tmp_path)) == 2.0


class Losing(DirectoryReader):
    """A reader whose directory loses a file as soon as it has been listed."""

    def _list_files(self) -> list[tuple[str, str, str]]:
        files = super()._list_files()
        if len(files) > 1:
            Path(files[0][0]).unlink()
        return files


@pytest.mark.parametrize("name", ["counter_0.db", "gauge_liveall_0.db"])
def test_a_file_that_vanishes_meanwhile_costs_only_itself(tmp_path: Path, name: str) -> None:
    """Somebody who tidies the directory up during a scrape does not make it fail."""
    write_counter(tmp_path / name, 1.0)
    write_counter(tmp_path / "summary_1.db", 2.0)
    assert read_counter(Losing(tmp_path)) == 2.0
    assert not (tmp_path / name).exists()


def test_a_directory_may_come_later_and_go(tmp_path: Path) -> None:
    """An exporter that starts first serves nothing yet, and the numbers when there are any."""
    directory = tmp_path / "metrics"
    reader = DirectoryReader(directory)
    assert list(reader.read_families()) == []
    assert reader.count_workers() == 0
    directory.mkdir()
    write_counter(directory / "counter_1.db", 2.0)
    assert read_counter(reader) == 2.0
    (directory / "counter_1.db").unlink()
    directory.rmdir()
    assert list(reader.read_families()) == []


def test_new_numbers_are_in_the_next_scrape(tmp_path: Path) -> None:
    """A scrape shows what a living worker has counted so far."""
    reader = DirectoryReader(tmp_path)
    file = ValueFile(str(tmp_path / "counter_1.db"))
    for value in (1.0, 2.0):
        file.write_value(key_of(0), value, 0.0)
        assert read_counter(reader) == value
    file.close()


@needs_root
def test_a_file_that_may_not_be_read_costs_only_itself(place: Path) -> None:
    """An exporter of another user serves what it may read and does not fail over the rest."""
    write_counter(place / "counter_1.db", 2.0)
    write_counter(place / "counter_2.db", 3.0)
    (place / "counter_2.db").chmod(0o600)
    families, said = Somebody(NOBODY).call_and_listen(read_ours, place)
    assert [list(samples.values()) for _, _, samples in families.values()] == [[2.0]]
    assert "counter_2.db" in said
    assert "Permission" in said
