"""What writers of values do in processes of their own."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

from metrics_commands.multiprocess.identity import worker_identity
from metrics_commands.multiprocess.lock import DirectoryLock, Holder
from metrics_commands.multiprocess.value_file import ValueFile


def key_of(number: int) -> str:
    """Return a key in the shape of prometheus_client's."""
    return json.dumps([f"metric_{number}", f"metric_{number}", {"label": "x" * 50}, "help"])


def write_too_much(path: Path, most_bytes: int | None = None) -> list[float]:
    """Write about a megabyte, twice, and return the values as this process sees them."""
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    file = ValueFile(str(path))
    for value in (1.0, 2.0):
        for number in range(8000):
            file.write_value(key_of(number), value, 0.0)
    return [file.read_value(key_of(number))[0] for number in range(8000)]


def write_one(path: Path) -> float:
    """Write one value and return it as this process sees it."""
    file = ValueFile(str(path))
    file.write_value(key_of(0), 3.0, 0.0)
    return file.read_value(key_of(0))[0]


def write_many_files(directory: Path) -> None:
    """Create files and let them grow, one after the other."""
    for number in range(150):
        file = ValueFile(str(directory / f"counter_{number}.db"))
        for key in range(60):
            file.write_value(key_of(key), 7.0, 0.0)
        file.close()


def list_identities() -> list[str]:
    """Return our identity, those of two forks and of a fork's fork, and ours again."""
    return [worker_identity(), *_fork(1), *_fork(0), worker_identity()]


def _fork(deeper: int) -> list[str]:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        mine = [worker_identity(), *(_fork(0) if deeper else [])]
        os.write(writing, " ".join(mine).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        names = file.read().split()
    os.waitpid(pid, 0)
    return names


def describe_process() -> tuple[str, int, int]:
    """Return our identity, our pid as we see it, and the inode of our PID namespace."""
    return worker_identity(), os.getpid(), Path("/proc/self/ns/pid").stat().st_ino


def hold(directory: Path, url: str) -> None:
    """Take the directory's lock, say so in its record, and stay."""
    lock = DirectoryLock.acquire(directory)
    assert lock is not None
    lock.publish(Holder(os.getpid(), 1.5, (url,)))
    time.sleep(600)


def hold_and_fork(directory: Path, url: str) -> None:
    """Do the same, and have a child that outlives us; its pid is in the file ``child``."""
    lock = DirectoryLock.acquire(directory)
    assert lock is not None
    pid = os.fork()
    if pid:
        (directory / "child").write_text(str(pid))
        lock.publish(Holder(os.getpid(), 1.5, (url,)))
    time.sleep(600)


def can_hold(directory: Path) -> bool:
    """Tell whether the directory's lock is to be had."""
    return DirectoryLock.acquire(directory) is not None
