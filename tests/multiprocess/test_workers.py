"""The roll of processes: who has begun, and who lives, whatever became of the others."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from metrics_commands.multiprocess.identity import boot_id, new_identity, own_place, worker_identity
from metrics_commands.multiprocess.liveness import find_pid, has_ended
from metrics_commands.multiprocess.reader import DirectoryReader
from tests.multiprocess.begun import METRIC, UNSHARE, begin, staying
from tests.multiprocess.conftest import mounted
from tests.multiprocess.files import read_values
from tests.multiprocess.folds import make_folder, write_orders
from tests.multiprocess.somebody import NOBODY, Somebody, needs_root

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
needs_leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory for value files."""
    path = tmp_path / "metrics"
    path.mkdir()
    return path


def call_roll(reader: DirectoryReader) -> tuple[dict[str, float], dict[int, str]]:
    """Return the starts by role, and the role of each living pid."""
    workers = reader.list_workers(METRIC)
    living = {each.pid: each.role for each in workers.living}
    assert len(living) == len(workers.living)
    return dict(workers.starts), living


def make_reader(directory: Path) -> DirectoryReader:
    """Return a reader that may ask for leases, as an exporter's."""
    reader = DirectoryReader(directory)
    reader.folder = make_folder(directory)
    return reader


def test_a_process_has_begun_and_lives_until_it_is_killed(directory: Path) -> None:
    """A SIGKILL is seen at once, and the start stays also when the file is folded."""
    reader = make_reader(directory)
    assert call_roll(reader) == ({}, {})
    with staying(directory, "web") as web, staying(directory, "task") as task:
        starts = {"web": 1.0, "task": 1.0}
        assert call_roll(reader) == (starts, {web.pid: "web", task.pid: "task"})
        web.kill()
        web.wait()
        assert call_roll(reader) == (starts, {task.pid: "task"})
        if reader.folder is not None:
            reader.folder.run_pass()
        assert len(list(directory.glob("counter_*.db"))) == 2
        assert call_roll(reader) == (starts, {task.pid: "task"})


@needs_linux
def test_a_zombie_does_not_live(directory: Path) -> None:
    """A worker whose master has not noticed its end yet is gone."""
    reader = DirectoryReader(directory)
    with staying(directory) as process:
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert call_roll(reader) == ({"web": 1.0}, {})


@needs_linux
def test_who_only_has_the_pid_is_not_counted(directory: Path) -> None:
    """A process that got a dead worker's pid began at another time."""
    mine = new_identity()
    pid, start, *rest = mine.split("-")
    begin(directory, worker="-".join([pid, str(int(start) - 1), *rest])).close()
    assert call_roll(DirectoryReader(directory)) == ({"web": 1.0}, {})
    begin(directory, worker=mine).close()
    assert call_roll(DirectoryReader(directory)) == ({"web": 2.0}, {os.getpid(): "web"})


def test_a_process_counts_once_and_only_if_it_has_begun(directory: Path) -> None:
    """Other files of one process add nothing, nor do files of those that have not begun."""
    begin(directory).close()
    for worker in (worker_identity(), "4711"):
        write_orders(directory, worker, 3.0).close()
    assert call_roll(DirectoryReader(directory)) == ({"web": 1.0}, {os.getpid(): "web"})
    begin(directory).close()
    assert call_roll(DirectoryReader(directory))[1] == {os.getpid(): "web"}


def test_an_entry_without_its_number_is_no_start(directory: Path) -> None:
    """A worker that was killed just when it began neither counts nor lives."""
    begin(directory, count=0.0).close()
    assert call_roll(DirectoryReader(directory)) == ({"web": 0.0}, {})


def test_what_the_roll_has_seen_first_is_on_the_page(directory: Path) -> None:
    """A scrape finds new series also where the roll was called just before it."""
    reader = DirectoryReader(directory)
    assert read_values(reader) == {}
    file = begin(directory)
    call_roll(reader)
    assert read_values(reader) == {f'{METRIC}_total{{role="web"}}': 1.0}
    file.close()


def test_a_file_that_grows_is_searched_again(directory: Path) -> None:
    """A process may begin long after its file, and another metric is another roll."""
    worker = new_identity()
    write_orders(directory, worker, 3.0).close()
    reader = DirectoryReader(directory)
    assert call_roll(reader) == ({}, {})
    begin(directory, worker=worker).close()
    assert call_roll(reader) == ({"web": 1.0}, {os.getpid(): "web"})
    assert reader.list_workers("other").starts == {}
    assert call_roll(reader)[0] == {"web": 1.0}


@needs_root
@needs_leases
def test_workers_of_another_namespace_live_by_their_lease(directory: Path) -> None:
    """Their pids are not known here, and may be others'; a death is seen at once all the same."""
    reader = make_reader(directory)
    with staying(directory, "web", UNSHARE), staying(directory, "task", UNSHARE) as dying:
        workers = reader.list_workers(METRIC)
        assert {(each.role, each.pid) for each in workers.living} == {("web", 0), ("task", 0)}
        [why] = reader.explain_hidden()
        assert "PID namespace" in why
        for each in psutil.Process(dying.pid).children():
            each.kill()
        dying.wait()
        workers = reader.list_workers(METRIC)
        assert [each.role for each in workers.living] == ["web"]
        assert workers.starts == {"web": 1.0, "task": 1.0}


@needs_root
@needs_linux
def test_of_whom_nobody_can_tell_nobody_has_seen_the_death(place: Path) -> None:
    """On a strange file system another container's workers are taken to live."""
    with mounted(place / "ram", "-t", "ramfs", "none") as directory:
        begin(directory, worker=f"7-7-7-{boot_id()}-abcdef").close()
        assert call_roll(make_reader(directory)) == ({"web": 1.0}, {0: "web"})


@needs_root
@needs_linux
def test_processes_that_proc_hides_are_there(directory: Path) -> None:
    """Where /proc shows a user only his own processes, the others are not taken for dead."""
    hide = 'mount -o remount,hidepid=2 /proc && exec "$@"'
    sandbox = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", hide, "sh")
    assert Somebody(wrapper=sandbox).call(judge_hidden) == [False, True]


def judge_hidden() -> list[bool]:
    """Tell whether root's process has ended, as another user sees it, before its end and after."""
    with subprocess.Popen(["sleep", "600"]) as process:
        worker = f"{process.pid}-1"
        try:
            before = judge_as_nobody(worker)
        finally:
            process.kill()
        process.wait()
        return [before, judge_as_nobody(worker)]


def judge_as_nobody(worker: str) -> bool:
    """Tell whether a process has ended, as a user to whom /proc does not show it."""
    pid = os.fork()
    if not pid:
        status = 2
        with suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            shown = Path(f"/proc/{worker.partition('-')[0]}").exists()
            status = 2 if shown else has_ended(worker)
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 1)
    return bool(status)


@pytest.mark.parametrize("part", [2, 3], ids=["namespace", "boot"])
def test_a_pid_means_something_at_one_place_only(part: int) -> None:
    """A worker of another container, machine or boot has no pid here."""
    here, mine = own_place(), new_identity()
    assert find_pid(mine, here) == (os.getpid() if here[1] != "0" else 0)
    parts = mine.split("-")
    parts[part] = "1"
    assert find_pid("-".join(parts), here) == 0


def test_what_tells_no_place_has_no_pid() -> None:
    """Names of other writers tell no pid, nor does a sandbox without /proc."""
    assert find_pid("4711", own_place()) == 0
    assert find_pid("7-7-0-0-abcdef", ("0", "0")) == 0
