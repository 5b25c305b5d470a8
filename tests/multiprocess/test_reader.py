"""Reading a directory: all workers together, and one bad file costing only itself."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.applications import (
    GAUGE_MODES,
    read_ours,
    read_theirs,
    run_workers,
)
from tests.multiprocess.somebody import Somebody
from tests.multiprocess.writers import key_of

WORKERS = 4


def write_counter(path: Path, value: float) -> None:
    """Leave a worker's value file with one counter."""
    file = ValueFile(str(path))
    file.write_value(key_of(0), value, 0.0)
    file.close()


def read_counter(reader: DirectoryReader) -> float:
    """Return that counter, summed over the workers."""
    (family,) = reader.read().families()
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
    assert list(reader.read().families()) == []
    assert reader.count_workers() == 0
    directory.mkdir()
    write_counter(directory / "counter_1.db", 2.0)
    assert read_counter(reader) == 2.0
    (directory / "counter_1.db").unlink()
    directory.rmdir()
    assert list(reader.read().families()) == []


def test_a_file_that_cannot_be_read_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a problem as long as it lasts; of the directory, which can be listed, nobody hears."""
    caplog.set_level(logging.INFO)
    write_counter(tmp_path / "counter_1.db", 2.0)
    opened = os.open

    def refuse(path: str | os.PathLike[str], flags: int, *args: Any, **kwargs: Any) -> int:
        if os.path.basename(path) == "counter_1.db":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *args, **kwargs)

    reader = DirectoryReader(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        for _ in range(3):
            reader.read()
            assert reader.problem == "value files that cannot be read: 1"
    [said] = caplog.messages
    assert "counter_1.db" in said
    assert read_counter(reader) == 2.0
    assert reader.problem == ""


def test_new_numbers_are_in_the_next_scrape(tmp_path: Path) -> None:
    """A scrape shows what a living worker has counted so far."""
    reader = DirectoryReader(tmp_path)
    file = ValueFile(str(tmp_path / "counter_1.db"))
    for value in (1.0, 2.0):
        file.write_value(key_of(0), value, 0.0)
        assert read_counter(reader) == value
    file.close()


def test_the_writers_of_one_process_are_one_worker(tmp_path: Path) -> None:
    """A process writes through prometheus_client and by itself, and is counted once."""
    same = "77-1000-4026531836-0123456789ab"
    for worker in (f"{same}-aaaaaa", f"{same}-bbbbbb", "78-1000-4026531836-0123456789ab-cccccc"):
        (tmp_path / f"counter_{worker}.db").touch()
    for foreign in ("host-1", "host-2", "9"):
        (tmp_path / f"counter_{foreign}.db").touch()
    assert DirectoryReader(tmp_path).count_workers() == 5
