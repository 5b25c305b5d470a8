"""Folding the dead: whatever happens in between, every count is there once."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metrics_commands.multiprocess import folding
from metrics_commands.multiprocess.fold import FOLDER
from metrics_commands.multiprocess.lock import DirectoryLock
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.applications import Families, read_ours, read_theirs
from tests.multiprocess.folds import (
    die,
    fold_what_dies,
    fold_with_lock,
    make_folder,
    make_key,
    pass_and_die,
    pass_with_hook,
    pass_with_newcomer,
    race,
    run_passes,
    write_orders,
    write_worker,
)
from tests.multiprocess.somebody import Somebody, needs_root
from tests.processes import wait_until

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")
STEP = 4


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return an empty directory, in memory where there is some: a crash test syncs it often."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def select_lasting(families: Families) -> Families:
    """Return all but the gauges that end with their worker."""
    return {name: each for name, each in families.items() if "live" not in name}


def count_orders(directory: Path) -> float:
    """Return all orders that were ever counted there."""
    return sum(read_ours(directory)["orders"][2].values())


def left_in_folding(directory: Path) -> list[str]:
    """Return what a pass has left undone."""
    return os.listdir(directory / FOLDER)


def prepare(directory: Path) -> None:
    """Leave an archive, and dead workers of all kinds."""
    directory.mkdir()
    die(write_worker(directory, "1", 3))
    make_folder(directory).run_pass()
    die(write_worker(directory, "2", 4))
    die(write_worker(directory, "3", 2))


def crash_everywhere(directory: Path, first: int) -> int:
    """Crash before every fourth operation of a pass, and in recoveries; return where it ended."""
    folding.PAUSE_SECONDS = 0.0
    prepare(directory / "before")
    operation = first
    while True:
        place = shutil.copytree(directory / "before", directory / str(operation))
        living = write_worker(place, "4", 5)
        before = read_ours(place)
        crashed = pass_and_die(place, operation)
        assert select_lasting(read_ours(place)) == select_lasting(before), operation
        if operation % 3 == 0 and pass_and_die(place, operation // 3 % 9):
            assert select_lasting(read_ours(place)) == select_lasting(before), operation
        run_passes(place, 1)
        after = read_ours(place)
        assert select_lasting(after) == select_lasting(before), operation
        assert after == read_theirs(place), operation
        assert set(after["depth_livesum"][2].values()) == {5.0}
        assert not left_in_folding(place), operation
        assert len(list(place.glob("counter_*"))) == 2
        die(living)
        shutil.rmtree(place)
        if not crashed:
            return operation
        operation += STEP


@pytest.mark.parametrize("first", range(STEP))
def test_a_crash_at_any_operation_loses_and_doubles_nothing(directory: Path, first: int) -> None:
    """After SIGKILL anywhere, also while the next run recovers, all numbers are as before."""
    assert Somebody().call(crash_everywhere, directory, first) > 50


def test_readers_never_see_half_a_fold(directory: Path) -> None:
    """Every scrape while three hundred workers' files fold shows those that have died, whole."""
    dead = 300
    for worker in range(dead):
        write_orders(directory, str(worker), 1.0).close()
        os.rename(directory / f"counter_{worker}.db", directory / f"ready_{worker}")
    write_orders(directory, "first", 1.0).close()
    reader = DirectoryReader(directory)
    seen = [count_orders(directory)]
    Somebody().call(run_passes, directory, 1)
    with Somebody().start(fold_what_dies, directory, dead) as folder:
        while folder.poll() is None:
            died = len(list(directory.glob("ready_*")))
            (orders,) = reader.read().families()
            still = len(list(directory.glob("ready_*")))
            seen.append(orders.samples[0].value)
            assert dead + 1 - died <= seen[-1] <= dead + 1 - still
    assert folder.returncode == 0
    assert len(set(seen)) > 10
    assert count_orders(directory) == dead + 1
    assert [each.name for each in directory.glob("*.db")] == ["counter_archive.db"]


@pytest.mark.parametrize("moment", ["leased", "moved"])
def test_a_worker_with_a_reused_pid_loses_nothing(directory: Path, moment: str) -> None:
    """Whoever opens the file while it folds goes on with it, or begins another one."""
    write_orders(directory, "77", 3.0).close()
    write_orders(directory, "78", 4.0).close()
    pid = Somebody().call(pass_with_newcomer, directory, "77", moment, 5.0)
    try:
        wait_until(lambda: count_orders(directory) == 12)
        run_passes(directory, 2)
        assert count_orders(directory) == 12
        assert (directory / "counter_77.db").exists()
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}/fd").exists() or not os.listdir(f"/proc/{pid}/fd"))
    run_passes(directory, 1)
    assert count_orders(directory) == 12
    assert [each.name for each in directory.glob("*.db")] == ["counter_archive.db"]


def test_a_worker_that_opened_a_file_before_a_crash_counts_on(directory: Path) -> None:
    """A crash frees who waits for a file: the next pass gives it back instead of taking it."""
    write_orders(directory, "1", 3.0).close()
    assert Somebody().call(pass_and_die, directory, 5)
    (moved,) = (directory / FOLDER).glob("*.db")
    worker = ValueFile(str(moved))
    run_passes(directory, 1)
    worker.write_value(make_key("orders", "orders_total", kind="a"), 8.0, 0.0)
    assert count_orders(directory) == 8
    worker.close()
    run_passes(directory, 1)
    assert count_orders(directory) == 8
    assert not left_in_folding(directory)


def test_a_file_under_both_names_counts_once(directory: Path) -> None:
    """A crash while a file gets its name back leaves two links, and no second count."""
    write_orders(directory, "1", 3.0).close()
    (directory / FOLDER).mkdir()
    os.link(directory / "counter_1.db", directory / FOLDER / "1-counter_1.db")
    assert count_orders(directory) == 3
    run_passes(directory, 1)
    assert count_orders(directory) == 3


def test_two_exporters_that_overlap_count_nothing_twice(directory: Path) -> None:
    """One that is about to end may still fold while the next one has begun."""
    for worker in range(200):
        write_orders(directory, str(worker), 1.0).close()
    Somebody().call(race, directory)
    assert count_orders(directory) == 200


def test_gauges_of_the_dead_end(directory: Path) -> None:
    """Live gauges end with their worker, those of each worker after a grace period."""
    die(write_worker(directory, "1", 3))
    folder = make_folder(directory, grace=3600)
    folder.run_pass()
    folder.run_pass()
    names = {each for each in read_ours(directory) if each.startswith("depth_")}
    assert names == {f"depth_{mode}" for mode in ("all", "min", "max", "sum", "mostrecent")}
    folder = make_folder(directory, grace=0)
    folder.run_pass()
    folder.run_pass()
    assert "depth_all" not in read_ours(directory)


def test_only_the_holder_of_the_directory_folds(directory: Path) -> None:
    """A second exporter leaves the files to the first one, until that one ends."""
    write_orders(directory, "1", 3.0).close()
    lock = DirectoryLock.acquire(directory)
    assert lock is not None
    assert not Somebody().call(fold_with_lock, directory)
    assert (directory / "counter_1.db").exists()
    lock.release()
    assert Somebody().call(fold_with_lock, directory)
    assert count_orders(directory) == 3


@needs_root
def test_a_full_disk_stops_folding_and_loses_nothing(small_disk: Path) -> None:
    """Where the archive does not fit all files keep their names, until there is room again."""
    for worker in range(20):
        write_orders(small_disk, str(worker), 1.0).close()
    folder = make_folder(small_disk)
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            folder.run_pass()
        assert count_orders(small_disk) == 20
        assert len(list(small_disk.glob("counter_*.db"))) == 20
    ballast.unlink()
    folder.run_pass()
    assert count_orders(small_disk) == 20
    assert not left_in_folding(small_disk)
    assert [each.name for each in small_disk.glob("*.db")] == ["counter_archive.db"]


def test_a_file_that_vanishes_costs_only_itself(directory: Path) -> None:
    """A server's hook that removes dead workers' live gauges meanwhile stops no pass."""
    die(write_worker(directory, "1", 1))
    Somebody().call(pass_with_hook, directory)
    assert count_orders(directory) == 1
    assert not left_in_folding(directory)


def test_reports_what_it_did(directory: Path) -> None:
    """The exporter's own metrics tell files by state, archived series and folds."""
    die(write_worker(directory, "1", 3))
    living = write_orders(directory, "2", 1.0)
    folder = make_folder(directory)
    folder.run_pass()
    folder.run_pass()
    values = {
        (each.name, *each.labels.values()): each.value
        for family in folder.describe()
        for each in family.samples
    }
    assert values["django_exporter_value_files", "live"] == 1
    assert values["django_exporter_value_files", "dead"] == 1  # gauge_all, in its grace
    assert values["django_exporter_folded_files_total",] == 7
    assert values["django_exporter_archived_series",] == 11
    assert values["django_exporter_last_fold_timestamp_seconds",] > 0
    living.close()
