"""Two hundred deaths of the exporter, and workers that never grow old: every count stays."""

from __future__ import annotations

import fcntl
import os
import pickle
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from metrics_commands.multiprocess import folding
from metrics_commands.multiprocess.directory import prepare_directory
from metrics_commands.multiprocess.fold import FOLDER
from metrics_commands.multiprocess.identity import worker_identity
from metrics_commands.multiprocess.reader import DirectoryReader
from tests.e2e.test_deployment import WORKERS, procfile
from tests.e2e.traffic import assert_exact, send_mix, wait_for_web
from tests.multiprocess.applications import read_ours, read_theirs
from tests.multiprocess.folds import make_folder, run_passes, write_orders, write_waits
from tests.multiprocess.somebody import Somebody
from tests.processes import scrape, wait_until

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")
KILLS = 200


def keep_dying(directory: Path) -> int:
    """Fork one worker after the other, which counts, and ends or is killed; return how many."""
    workers = 0
    while not (directory / "stop").exists():
        pid = os.fork()
        if not pid:
            files = [write_orders(directory, worker_identity(), 1.0)]
            files.append(write_waits(directory, worker_identity(), kind="a"))
            if workers % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
        os.waitpid(pid, 0)
        workers += 1
    return workers


def kill_folders(directory: Path) -> int:
    """Let a process fold pass after pass and kill it at a random moment, again and again."""
    folding.PAUSE_SECONDS = 0.0
    for _ in range(KILLS):
        pid = os.fork()
        if not pid:
            folder = make_folder(directory)
            while True:
                folder.run_pass()
        time.sleep(random.uniform(0.002, 0.06))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return KILLS


def finish(process: subprocess.Popen[bytes]) -> int:
    """Return what the process's function returned."""
    output, said = process.communicate(timeout=30)
    assert process.returncode == 0, said.decode()
    result: int = pickle.loads(output)
    return result


@contextmanager
def busy(directory: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run four processes whose workers die all the time."""
    with ExitStack() as stack:
        processes = []
        for _ in range(WORKERS):
            process = stack.enter_context(Somebody().start(keep_dying, directory))
            stack.callback(process.kill)
            processes.append(process)
        yield processes


def test_two_hundred_kills_of_the_exporter_cost_no_count(tmp_path: Path) -> None:
    """At every moment totals only grow, and in the end each worker's count is there once."""
    reader = DirectoryReader(prepare_directory(tmp_path).path)
    seen = [0.0]
    with busy(tmp_path) as processes, Somebody().start(kill_folders, tmp_path) as killer:
        while killer.poll() is None:
            for family in reader.read().families():
                if family.name == "orders":
                    seen.append(family.samples[0].value)
                    assert seen[-1] >= seen[-2]
        assert finish(killer) == KILLS
        (tmp_path / "stop").touch()
        workers = sum(map(finish, processes))
    for _ in range(2):
        found = read_ours(tmp_path)
        kind = frozenset({("kind", "a")})
        assert found["orders"][2]["orders_total", kind] == workers
        assert found["wait"][2]["wait_sum", kind] == 5 * workers
        assert found["wait"][2]["wait_count", kind] == 3 * workers
        run_passes(tmp_path, 1)
    assert read_ours(tmp_path) == read_theirs(tmp_path)
    assert os.listdir(tmp_path / FOLDER) == []
    names = sorted(each.name for each in tmp_path.glob("*.db"))
    assert names == ["counter_archive.db", "histogram_archive.db"]
    assert workers > KILLS


def test_workers_of_few_requests_leave_few_files(environment: dict[str, str], home: Path) -> None:
    """Under --max-requests hundreds of workers come and go: totals exact, the directory small."""
    with procfile(environment, GUNICORN_CMD_ARGS="--max-requests 20") as (_, port, url):
        sent = wait_for_web(port) + send_mix(port, 4)
        assert_exact(scrape(url), sent)

        def list_workers() -> set[str]:
            return {path.stem.rpartition("_")[2] for path in (home / "metrics").glob("*.db")}

        wait_until(lambda: "archive" in list_workers() and len(list_workers()) <= 2 * WORKERS + 1)
        assert_exact(scrape(url), sent)
        sent += send_mix(port, 1)
        assert_exact(scrape(url), sent)
