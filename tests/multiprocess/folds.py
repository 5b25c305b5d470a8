"""Directories with dead workers, and passes of the folder in processes of their own."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import mmap_dict

from metrics_commands.multiprocess import archive, folding
from metrics_commands.multiprocess.folding import Folder
from metrics_commands.multiprocess.lock import DirectoryLock
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile

GAUGES = ("all", "min", "max", "sum", "mostrecent")
MODES = (*GAUGES, *(f"live{mode}" for mode in GAUGES))
BOUNDS = ("0.1", "1.0", "+Inf")


def make_key(metric: str, sample: str, **labels: str) -> str:
    """Return an entry's key as prometheus_client writes it."""
    write: Any = mmap_dict.mmap_key
    key: str = write(metric, sample, list(labels), list(labels.values()), "help")
    return key


def write_counters(directory: Path, worker: str, values: Mapping[str, float]) -> ValueFile:
    """Count by key; the worker lives until the file is closed."""
    file = ValueFile(str(directory / f"counter_{worker}.db"))
    for key, value in values.items():
        file.write_value(key, value, 0.0)
    return file


def write_orders(directory: Path, worker: str, value: float) -> ValueFile:
    """Count orders of one kind."""
    return write_counters(directory, worker, {make_key("orders", "orders_total", kind="a"): value})


def write_waits(
    directory: Path, worker: str, bounds: tuple[str, ...] = BOUNDS, **labels: str
) -> ValueFile:
    """Write a histogram that has seen one value of 5 above each bound but the last."""
    file = ValueFile(str(directory / f"histogram_{worker}.db"))
    file.write_value(make_key("wait", "wait_sum", **labels), 5.0, 0.0)
    for bound in bounds:
        file.write_value(make_key("wait", "wait_bucket", **labels, le=bound), 1.0, 0.0)
    return file


def write_worker(directory: Path, worker: str, number: int) -> list[ValueFile]:
    """Write a file of each kind."""
    files = [write_orders(directory, worker, number), write_waits(directory, worker, kind="b")]
    summary = ValueFile(str(directory / f"summary_{worker}.db"))
    summary.write_value(make_key("size", "size_count"), number, 0.0)
    summary.write_value(make_key("size", "size_sum"), number / 2, 0.0)
    for mode in MODES:
        gauge = ValueFile(str(directory / f"gauge_{mode}_{worker}.db"))
        gauge.write_value(make_key(f"depth_{mode}", f"depth_{mode}"), number, 1000.0 - number)
        files.append(gauge)
    return [*files, summary]


def die(files: list[ValueFile]) -> None:
    """Let files go, as the end of a worker does."""
    for file in files:
        file.close()


def make_folder(directory: Path, grace: float = folding.GRACE_SECONDS) -> Folder:
    """Return a folder that knows what the living declare from a first scrape."""
    reader = DirectoryReader(directory)
    reader.read()
    return Folder(directory, reader.find_shapes, grace)


def pass_and_die(directory: Path, operation: int) -> bool:
    """Run a pass in a fork that kills itself before an operation; tell whether it got there."""
    pid = os.fork()
    if not pid:
        folding.PAUSE_SECONDS = 0.0
        folder = make_folder(directory)
        _die_before(operation)
        folder.run_pass()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status != 0


def _die_before(operation: int) -> None:
    """Arm this process: it ends before the n-th operation that changes a file system."""
    changing = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.chmod", "os.truncate"}
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen > operation:
            os.kill(os.getpid(), signal.SIGKILL)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in changing or writes:
            count()

    def fsync(fd: Any, real: Any = os.fsync) -> None:
        count()
        real(fd)

    os.fsync = fsync  # fsync() and flock() have no audit event
    sys.addaudithook(look)


def run_passes(directory: Path, times: int, most_series: int = archive.MOST_SERIES) -> None:
    """Fold again and again, with another limit of the archive where asked."""
    archive.MOST_SERIES = most_series
    folder = make_folder(directory)
    for _ in range(times):
        folder.run_pass()


def fold_what_dies(directory: Path, dead: int) -> None:
    """Replay small workers' deaths and fold them in small batches, until all have died."""
    folding.BATCH = 8
    folder = make_folder(directory)
    folder.run_pass()
    for worker in range(dead):
        os.rename(directory / f"ready_{worker}", directory / f"counter_{worker}.db")
        if worker % 25 == 24:
            folder.run_pass()


def count_through(directory: Path, worker: str, value: float) -> None:
    """Open a file by name, as a worker with a reused pid does, and count on with what it has."""
    open_file: Any = mmap_dict.MmapedDict
    file = open_file(str(directory / f"counter_{worker}.db"))
    key = make_key("orders", "orders_total", kind="a")
    file.write_value(key, file.read_value(key)[0] + value, 0.0)
    time.sleep(600)


def fold_with_lock(directory: Path) -> bool:
    """Fold if we get the directory's lock; tell whether we did."""
    if DirectoryLock.acquire(directory) is None:
        return False
    run_passes(directory, 1)
    return True


def race(directory: Path) -> None:
    """Run passes of two folders at once, as an ending exporter and its successor may."""
    folders = [make_folder(directory) for _ in range(2)]

    def run(folder: Folder) -> None:
        for _ in range(5):
            try:
                folder.run_pass()
            except OSError:
                continue

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def pass_with_newcomer(directory: Path, worker: str, moment: str, value: float) -> int:
    """Run a pass during which a worker of a reused pid opens its file; return the worker's pid.

    It does so once the file is ``leased``, and waits in open(), or once it has ``moved``.
    """
    path = directory / f"counter_{worker}.db"
    inode = path.stat().st_ino
    newcomers: list[int] = []

    def is_there() -> bool:
        if moment == "moved":
            return path.exists()
        locks = Path("/proc/locks").read_text().splitlines()
        return any("BREAKING" in each and f":{inode} " in each for each in locks)

    def come() -> None:
        newcomers.append(-1)
        newcomers[0] = os.fork()
        if not newcomers[0]:
            os.closerange(3, 4096)  # our leases, and the pipe that whoever called us reads
            count_through(directory, worker, value)
        deadline = time.monotonic() + 20
        while not is_there():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[0]) == str(path) and not newcomers:
            if moment == "leased":
                come()
        elif event == "open" and str(arguments[0]).endswith(".new") and not newcomers:
            come()

    folder = make_folder(directory)
    sys.addaudithook(look)
    folder.run_pass()
    return newcomers[0]


def pass_with_hook(directory: Path) -> None:
    """Run a pass while somebody removes each live gauge's file just before it is moved."""

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and "/gauge_live" in str(arguments[0]):
            os.unlink(arguments[0])

    folder = make_folder(directory)
    sys.addaudithook(look)
    folder.run_pass()
