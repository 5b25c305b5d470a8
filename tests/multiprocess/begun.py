"""Processes that have begun to count, as their own files say."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metrics_commands.multiprocess.identity import new_identity
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.folds import make_key, write_counters
from tests.multiprocess.somebody import Somebody
from tests.processes import wait_until

METRIC = "django_worker_starts"
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def begin(directory: Path, role: str = "web", worker: str = "", count: float = 1.0) -> ValueFile:
    """Write that this process has begun, or another one by its identity."""
    key = make_key(METRIC, f"{METRIC}_total", role=role)
    return write_counters(directory, worker or new_identity(), {key: count})


def begin_and_stay(directory: Path, role: str, ready: Path) -> None:
    """Write that this process has begun, say so beside it, and live on."""
    file = begin(directory, role)
    ready.touch()
    time.sleep(600)
    file.close()


def come_and_go(directory: Path, role: str, stop: Path, most: int, busy_seconds: float) -> int:
    """Keep some processes that are busy or wait, and end or are killed; return how many."""
    living: list[int] = []
    started = 0
    while not stop.exists():
        while len(living) < most:
            living.append(_fork_short(directory, role, busy_seconds * (started % 4)))
            started += 1
        pid = living.pop(0)
        if started % 2:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for pid in living:
        os.waitpid(pid, 0)
    return started


def _fork_short(directory: Path, role: str, busy_seconds: float) -> int:
    """Fork a process that does not live for long; return its pid once it has begun."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        file = begin(directory, role)
        os.write(writing, b".")
        end = time.process_time() + busy_seconds
        while time.process_time() < end:
            pass
        if not busy_seconds:
            time.sleep(0.03)
        file.close()
        os._exit(0)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    return pid


@contextmanager
def staying(
    directory: Path, role: str = "web", wrapper: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that has begun, until it is killed."""
    ready = directory.parent / f"ready-{os.urandom(4).hex()}"
    with Somebody(wrapper=wrapper).start(begin_and_stay, directory, role, ready) as process:
        try:
            wait_until(ready.exists)
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
