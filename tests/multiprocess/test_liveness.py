"""Who lives: what the kernel says of a file's writer, on every kind of file system."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from metrics_commands.multiprocess.identity import boot_id, worker_identity
from metrics_commands.multiprocess.liveness import State, find_file_system, judge, judge_by_pid
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile
from tests.multiprocess.conftest import mounted
from tests.multiprocess.folds import make_folder, write_orders
from tests.multiprocess.somebody import NOBODY, Somebody, needs_root
from tests.processes import wait_until

needs_leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def write_and_stay(path: Path, how: str) -> None:
    """Write a value, say so beside it, and live on with the descriptor or only the map."""
    file = ValueFile(str(path))
    file.write_value("key", 1.0, 0.0)
    kept = None
    if how == "map":
        with path.open("r+b") as opened:
            kept = mmap.mmap(opened.fileno(), 0)
        file.close()
    path.with_suffix(".ready").touch()
    time.sleep(600)
    del kept


@contextmanager
def living(path: Path, how: str, *wrapper: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a writer in a process of its own."""
    with Somebody(wrapper=wrapper).start(write_and_stay, path, how) as writer:
        try:
            wait_until(path.with_suffix(".ready").exists)
            yield writer
        finally:
            with suppress(ProcessLookupError):
                os.killpg(writer.pid, signal.SIGKILL)
            writer.communicate()


def judge_path(path: Path, worker: str = "1") -> State:
    """Return what the exporter makes of a file, by its real file system."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return judge(descriptor, worker, find_file_system(path.parent)).state
    finally:
        os.close(descriptor)


@needs_leases
@pytest.mark.parametrize("how", ["descriptor", "map"])
def test_a_writer_lives_until_it_is_killed(tmp_path: Path, how: str) -> None:
    """A worker is alive with its file open or only mapped, and dead at once after SIGKILL."""
    path = tmp_path / "counter_1.db"
    with living(path, how) as writer:
        assert judge_path(path) is State.LIVE
        writer.kill()
        writer.wait()
        assert judge_path(path) is State.DEAD


@needs_leases
def test_readers_do_not_keep_a_file_alive(tmp_path: Path) -> None:
    """The exporter's own maps, and other readers', hinder no fold."""
    write_orders(tmp_path, "1", 3.0).close()
    path = tmp_path / "counter_1.db"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert judge_path(path) is State.DEAD


@needs_leases
@needs_root
def test_another_users_file_is_unknown_and_never_folded(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without CAP_LEASE the exporter cannot tell, says why once, and leaves the file alone."""
    directory = place / "metrics"
    directory.mkdir()
    directory.chmod(0o777)
    write_orders(directory, "1", 3.0).close()
    (directory / "counter_1.db").chmod(0o644)
    states, said = Somebody(NOBODY).call_and_listen(pass_and_report, directory)
    assert states == {"unknown": 1}
    assert said.count("another user") == 1
    assert (directory / "counter_1.db").exists()


def pass_and_report(directory: Path) -> dict[str, int]:
    """Run two passes and return the states of the files."""
    folder = make_folder(directory)
    folder.run_pass()
    folder.run_pass()
    return dict(folder.report.states)


@needs_leases
@needs_root
def test_workers_of_two_containers_with_equal_pids_are_told_apart(tmp_path: Path) -> None:
    """A worker with the same pid in another PID namespace lives while its twin is dead."""
    unshare = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    write_orders(tmp_path, "1", 3.0).close()
    alive = tmp_path / "histogram_1.db"
    with living(alive, "descriptor", *unshare):
        assert judge_path(alive) is State.LIVE
        assert judge_path(tmp_path / "counter_1.db") is State.DEAD


@needs_leases
@needs_root
def test_equal_pids_have_unlike_identities() -> None:
    """The names of such workers' files differ although both are process 1 of their container."""
    unshare = ("unshare", "--pid", "--fork", "--mount-proc")
    names = [Somebody(wrapper=unshare).call(worker_identity) for _ in range(2)]
    assert {name.partition("-")[0] for name in names} == {"1"}
    assert len(set(names)) == 2


@needs_linux
@needs_root
@pytest.mark.parametrize("name", ["plain", "with a blank", "tab\tand\\backslash", "ünïcode"])
def test_a_file_system_is_told_below_its_mount(place: Path, name: str) -> None:
    """A tmpfs mounted anywhere is seen as one, from the mount on down and not above."""
    with mounted(place / name, "-t", "tmpfs", "none") as directory:
        (directory / "below").mkdir()
        assert find_file_system(directory) == "tmpfs"
        assert find_file_system(directory / "below") == "tmpfs"
        assert find_file_system(place) == find_file_system(place.parent)


@needs_linux
@needs_root
def test_a_mount_that_is_covered_does_not_count(place: Path) -> None:
    """Where a later mount covers a path, its own file system decides."""
    (place / "outer" / "inner").mkdir(parents=True)
    with mounted(place / "outer" / "inner" / "data", "-t", "tmpfs", "none"):
        subprocess.run(["mount", "-t", "ramfs", "none", str(place / "outer")], check=True)
        try:
            covering = place / "outer" / "inner" / "data"
            covering.mkdir(parents=True)
            assert find_file_system(covering) == "ramfs"
        finally:
            subprocess.run(["umount", "-l", str(place / "outer")], check=True)


@needs_linux
@needs_root
def test_files_on_an_unproven_file_system_stay(place: Path) -> None:
    """On ramfs, as on network file systems, nobody is ever folded."""
    with mounted(place / "ram", "-t", "ramfs", "none") as directory:
        write_orders(directory, "1", 3.0).close()
        assert judge_path(directory / "counter_1.db") is State.UNKNOWN
        assert pass_and_report(directory) == {"unknown": 1}


def count_unknown(directory: Path) -> dict[str, int]:
    """Return what checkports says beforehand of files that would never be folded."""
    return dict(DirectoryReader(directory).explain_unknown())


@needs_root
@needs_leases
def test_what_would_never_be_folded_is_known_beforehand(place: Path) -> None:
    """Without a lease, checkports tells of other users' files and of strange file systems."""
    write_orders(place, "1", 1.0).close()
    assert count_unknown(place) == {}
    (reason,) = Somebody(NOBODY).call(count_unknown, place)
    assert "another user" in reason
    with mounted(place / "ram", "-t", "ramfs", "none") as directory:
        write_orders(directory, "1", 1.0).close()
        (reason,) = count_unknown(directory)
        assert "ramfs" in reason


@needs_linux
@needs_root
def test_overlay_is_trusted_for_our_own_writer_alone(place: Path) -> None:
    """In a container's own layer our files fold, and plain prometheus_client's stay."""
    with mounted(place / "disk", "-t", "tmpfs", "none") as disk:
        for name in ("lower", "upper", "work"):
            (disk / name).mkdir()
        options = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
        try:
            overlay = mounted(place / "layer", "-t", "overlay", "-o", options, "none")
            directory = overlay.__enter__()
        except subprocess.CalledProcessError:
            pytest.skip("no overlay can be mounted here")
        try:
            ours = worker_identity()
            for worker in ("1", ours):
                write_orders(directory, worker, 1.0).close()
            assert judge_path(directory / "counter_1.db") is State.UNKNOWN
            path = directory / f"counter_{ours}.db"
            assert judge_path(path, ours) is State.DEAD
            with living(directory / "gauge_all_x.db", "descriptor"):
                assert judge_path(directory / "gauge_all_x.db", ours) is State.LIVE
        finally:
            overlay.__exit__(None, None, None)


def name_of(pid: int, made: float, boot: str) -> str:
    """Return an identity as it is made where there is no /proc."""
    return f"{pid}-{int(made)}-0-{boot}-abcdef"


def test_without_leases_the_process_decides() -> None:
    """As on macOS: a worker is alive while its process is, and dead once that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = name_of(process.pid, time.time(), boot_id())
        assert judge_by_pid(name).state is State.LIVE
        # The same pid, but its process began long after the identity was made.
        reused = name_of(process.pid, time.time() - 3600, boot_id())
        assert judge_by_pid(reused).state is State.DEAD
    assert judge_by_pid(name).state is State.DEAD


@pytest.mark.parametrize(
    "worker", ["1234", "somebody", name_of(os.getpid(), 0, "0000otherboot"), "1-2-3"]
)
def test_without_leases_a_strange_name_is_unknown(worker: str) -> None:
    """Names of other writers, or of another boot, prove no death."""
    verdict = judge_by_pid(worker)
    assert verdict.state is State.UNKNOWN
    assert verdict.why
