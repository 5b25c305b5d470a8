"""Real servers and commands: how many live, began and died, and what the exporter sees of them."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from metrics_commands.collectors.registry import CollectorSet, Surroundings
from metrics_commands.collectors.workers import WorkersCollector
from metrics_commands.multiprocess.reader import DirectoryReader
from tests.collectors.gathers import scrape
from tests.e2e.traffic import wait_for_web
from tests.multiprocess.begun import UNSHARE
from tests.multiprocess.folds import make_folder
from tests.multiprocess.somebody import needs_root
from tests.processes import (
    BIN,
    Samples,
    Started,
    free_port,
    run_manage,
    sample,
    started,
    wait_until,
)

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")
WORKERS = 4
COUNTS = ("django_workers", "django_worker_starts_total", "django_worker_deaths_total")
FIGURES = (
    "django_worker_cpu_seconds_total",
    "django_worker_resident_memory_bytes",
    "django_worker_resident_memory_max_bytes",
    "django_worker_open_fds",
    "django_worker_threads",
    "django_worker_oldest_start_time_seconds",
)
STAY = "print('here', flush=True); import time; time.sleep(600)"

FORK = f"""
import os, time
from metrics_commands.commands import stage
if not os.fork():
    time.sleep(600)
if not os.fork():
    stage("work").add(1)
    {STAY}
time.sleep(600)
"""


class Exporter:
    """The part of an exporter that tells of workers."""

    def __init__(self, directory: Path) -> None:
        self._reader = DirectoryReader(directory)
        self._reader.folder = make_folder(directory)
        collector = WorkersCollector(Surroundings(value_files=self._reader))
        self._collectors = CollectorSet({"workers": collector})

    def scrape(self) -> Samples:
        """Return all samples."""
        return scrape(self._collectors)

    def count(self, role: str) -> tuple[float, ...]:
        """Return how many of a role live, began and died."""
        samples = self.scrape()
        return tuple(sample(samples, name, role=role) or 0.0 for name in COUNTS)

    def wait(self, role: str, *counts: float) -> None:
        """Wait for counts."""
        wait_until(lambda: self.count(role) == counts, lambda: f"{self.count(role)} != {counts}")

    def fold(self) -> None:
        """Fold whatever is dead."""
        assert self._reader.folder is not None
        self._reader.folder.run_pass()


def gunicorn(port: int, *options: str) -> list[str | Path]:
    """Return the command line of a shop with several workers."""
    address = f"127.0.0.1:{port}"
    return [BIN / "gunicorn", "project.wsgi", "-w", str(WORKERS), "-b", address, *options]


def find_workers(server: Started) -> list[psutil.Process]:
    """Return the processes below a server that have none below themselves."""
    below = psutil.Process(server.pid).children(recursive=True)
    return [each for each in below if not each.children()]


def kill_one(server: Started) -> None:
    """Kill a worker, and wait for its end."""
    worker = find_workers(server)[0]
    worker.kill()
    wait_until(lambda: not worker.is_running())


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
def test_workers_that_are_killed_are_counted(
    environment: dict[str, str], home: Path, options: tuple[str, ...]
) -> None:
    """Each worker counts from its start on, idle or not, and its master never."""
    exporter, port = Exporter(home / "metrics"), free_port()
    with started(gunicorn(port, *options), environment) as server:
        exporter.wait("web", WORKERS, WORKERS, 0)
        wait_for_web(port)
        for kills in range(1, 4):
            kill_one(server)
            exporter.wait("web", WORKERS, WORKERS + kills, kills)
            exporter.fold()
            assert exporter.count("web") == (WORKERS, WORKERS + kills, kills)
        samples = exporter.scrape()
        assert all(sample(samples, name, role="web") for name in FIGURES)
        server.stop()
    assert exporter.count("web") == (0, WORKERS + 3, WORKERS + 3)
    assert exporter.count("command") == (0, 0, 0)


def test_a_command_counts_while_it_runs(environment: dict[str, str], home: Path) -> None:
    """One that ends by itself and one that is killed have both begun and ended."""
    exporter = Exporter(home / "metrics")
    with started([BIN / "python", "manage.py", "shell", "-c", STAY], environment) as command:
        command.wait_for("here")
        assert exporter.count("command") == (1, 1, 0)
        command.stop(signal.SIGKILL)
        assert exporter.count("command") == (0, 1, 1)
    assert run_manage(environment, "check").returncode == 0
    assert exporter.count("command") == (0, 2, 2)
    for kept_in_memory in ("checkports", "test"):
        run_manage(environment, kept_in_memory)
    assert exporter.count("command") == (0, 2, 2)


def test_a_fork_counts_from_its_first_number_on(environment: dict[str, str], home: Path) -> None:
    """Of what a process forks, only those that count something are counted."""
    exporter = Exporter(home / "metrics")
    with started([BIN / "python", "manage.py", "shell", "-c", FORK], environment) as command:
        command.wait_for("here")
        assert exporter.count("command") == (2, 2, 0)
    assert exporter.count("command") == (0, 2, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda port: ["python", "manage.py", "runserver", str(port)],
        lambda port: ["python", "manage.py", "runserver", str(port), "--noreload"],
        lambda port: ["uvicorn", "project.asgi:application", "--port", str(port)],
        lambda port: ["python", "-m", "gunicorn", "project.wsgi", "-b", f"127.0.0.1:{port}"],
    ],
    ids=["reloader", "runserver", "uvicorn", "module"],
)
def test_a_server_of_one_process_is_one(
    environment: dict[str, str], home: Path, make: Callable[[int], list[str]]
) -> None:
    """A reloader and a master that only load the application are none."""
    exporter, port = Exporter(home / "metrics"), free_port()
    program, *arguments = make(port)
    with started([BIN / program, *arguments], environment):
        wait_for_web(port)
        assert exporter.count("web") == (1, 1, 0)
        assert exporter.count("command") == (0, 0, 0)


@needs_root
def test_workers_of_another_container_are_counted_alone(
    environment: dict[str, str], home: Path
) -> None:
    """Across PID namespaces counts are right, the rest is absent, and checkports says why."""
    exporter, port = Exporter(home / "metrics"), free_port()
    with started([*UNSHARE, *gunicorn(port)], environment) as server:
        exporter.wait("web", WORKERS, WORKERS, 0)
        kill_one(server)
        exporter.wait("web", WORKERS, WORKERS + 1, 1)
        samples = exporter.scrape()
        assert [sample(samples, name, role="web") for name in FIGURES] == [None] * len(FIGURES)
        exporter.fold()
        assert exporter.count("web") == (WORKERS, WORKERS + 1, 1)
        said = run_manage(environment, "checkports").stdout
        assert f"cannot be seen from here ({WORKERS})" in said
        assert "PID namespace" in said
        assert "W042" in said
    exporter.wait("web", 0, WORKERS + 1, WORKERS + 1)
    with started(gunicorn(free_port()), environment):
        exporter.wait("web", WORKERS, 2 * WORKERS + 1, WORKERS + 1)
        samples = exporter.scrape()
        assert all(sample(samples, name, role="web") is not None for name in FIGURES)
