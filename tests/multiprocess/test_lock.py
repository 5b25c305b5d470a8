"""The exporter's lock on a directory, and the record of who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.multiprocess.directory import LOCK
from metrics_commands.multiprocess.fold import locked
from metrics_commands.multiprocess.lock import (
    FILE_NAME,
    DirectoryLock,
    Holder,
    find_exporter,
    read_holder,
)
from tests.multiprocess.somebody import NOBODY, SHARED_GROUP, Somebody, needs_root
from tests.multiprocess.writers import can_hold, hold, hold_and_fork
from tests.processes import wait_until

URL = "http://127.0.0.1:8001/metrics"


def acquire(directory: Path) -> DirectoryLock:
    """Take a lock that must be free."""
    lock = DirectoryLock.acquire(directory)
    assert lock is not None
    return lock


def test_is_held_once_and_free_after_release(tmp_path: Path) -> None:
    """Only one exporter says that it serves a directory, and the next one may follow it."""
    lock = acquire(tmp_path)
    assert DirectoryLock.acquire(tmp_path) is None
    assert not Somebody().call(can_hold, tmp_path)
    lock.release()
    assert Somebody().call(can_hold, tmp_path)
    acquire(tmp_path).release()


def test_record_is_read_without_the_lock(tmp_path: Path) -> None:
    """Everybody who may read the directory learns who serves it and where, while it does."""
    assert read_holder(tmp_path) is None
    lock = acquire(tmp_path)
    assert read_holder(tmp_path) is None
    long = Holder(os.getpid(), 1700000000.25, tuple(f"{URL}/{number}" for number in range(100)))
    short = Holder(os.getpid(), 1700000000.25, (URL,))
    for holder in (long, short):
        lock.publish(holder)
        assert read_holder(tmp_path) == holder
        assert Somebody().call(read_holder, tmp_path) == holder
    lock.release()
    assert read_holder(tmp_path) == replace(short, urls=())
    assert find_exporter(tmp_path) is None


def test_the_port_is_remembered_beyond_the_end(tmp_path: Path) -> None:
    """The next exporter learns which port the last one had, and how often it changed."""
    last = Holder(os.getpid(), 1700000000.25, (URL,), port=8001, moves=3)
    lock = acquire(tmp_path)
    lock.publish(last)
    lock.release()
    again = acquire(tmp_path)
    assert read_holder(tmp_path) == replace(last, urls=())
    again.release()
    assert read_holder(tmp_path) == replace(last, urls=())


def test_dies_with_its_holder(tmp_path: Path) -> None:
    """After SIGKILL the next exporter takes over at once, and the record names the dead one."""
    with Somebody().start(hold, tmp_path, URL) as child:
        holder = wait_until(lambda: read_holder(tmp_path))
        assert holder == Holder(child.pid, 1.5, (URL,))
        assert DirectoryLock.acquire(tmp_path) is None
        child.send_signal(signal.SIGKILL)
        child.wait()
    lock = acquire(tmp_path)
    assert read_holder(tmp_path) == holder
    lock.release()


def test_is_not_inherited_by_programs_that_the_holder_starts(tmp_path: Path) -> None:
    """What an exporter has started, and outlives it, keeps no lock."""
    lock = acquire(tmp_path)
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        lock.release()
        acquire(tmp_path).release()
        child.communicate()


def start_fork() -> tuple[int, int]:
    """Fork a child that does nothing, as a careless collector might; return its pid and a pipe."""
    until, ended = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ended)
        os.read(until, 1)
        os._exit(0)
    os.close(until)
    return pid, ended


def test_is_not_inherited_by_a_fork(tmp_path: Path) -> None:
    """A child without exec does not keep the directory from the next exporter."""
    with Somebody().start(hold_and_fork, tmp_path, URL) as holder:
        wait_until(lambda: read_holder(tmp_path))
        pid = int((tmp_path / "child").read_text())
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    try:
        acquire(tmp_path).release()
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_fork_meanwhile_does_not_prolong_a_fold(tmp_path: Path) -> None:
    """A child that was forked while files moved does not keep readers waiting."""
    with locked(tmp_path, fcntl.LOCK_EX):
        pid, ended = start_fork()
    try:
        descriptor = os.open(tmp_path / LOCK, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.close(descriptor)
    finally:
        os.close(ended)
        os.waitpid(pid, 0)


def as_record(**changes: object) -> bytes:
    """Return a record as an exporter writes it, with some of it changed."""
    return json.dumps({"pid": 1, "create_time": 1.0, "urls": [URL], **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(as_record()[:-9], id="half"),
        pytest.param(b"\xff\xfe\x00", id="no-text"),
        pytest.param(b"[" * 60_000, id="deep"),
        pytest.param(b" " * 70_000 + as_record(), id="too-long"),
        pytest.param(as_record(pid=float("inf")), id="infinite-pid"),
        pytest.param(as_record(pid=0), id="no-pid"),
        pytest.param(as_record(pid=-1), id="negative-pid"),
        pytest.param(as_record(create_time=10**400), id="time-too-large"),
        pytest.param(as_record(urls=None), id="no-urls"),
        pytest.param(as_record(port=70000), id="port-too-high"),
        pytest.param(as_record(port=-1), id="negative-port"),
        pytest.param(as_record(port="x"), id="port-of-letters"),
        pytest.param(as_record(moves=-1), id="negative-moves"),
        pytest.param(b"[1, 2, 3]", id="list"),
    ],
)
def test_record_that_makes_no_sense_is_no_holder(tmp_path: Path, content: bytes) -> None:
    """What somebody else wrote into the lock's file does not stop the checker."""
    (tmp_path / FILE_NAME).write_bytes(content)
    assert read_holder(tmp_path) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
records = st.fixed_dictionaries(
    {"pid": json_values, "create_time": json_values, "urls": json_values},
    optional={"port": json_values, "moves": json_values},
)
contents = st.binary() | (json_values | records).map(lambda value: json.dumps(value).encode())


@settings(max_examples=40, deadline=None)
@given(contents)
def test_any_record_is_read_without_an_exception(content: bytes) -> None:
    """Whatever lies there, the checker goes on, with a usable pid or with none."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, FILE_NAME).write_bytes(content)
        holder = read_holder(Path(name))
        assert holder is None or holder.pid > 0


@pytest.mark.parametrize("kind", ["pipe", "link", "hard-link", "directory"])
def test_what_is_planted_in_place_of_the_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A pipe or a link of the lock's name neither hangs an exporter nor empties what it names."""
    target = tmp_path / "precious"
    target.write_bytes(as_record())
    planted = tmp_path / FILE_NAME
    if kind == "pipe":
        os.mkfifo(planted)
    elif kind == "link":
        planted.symlink_to(target)
    elif kind == "hard-link":
        os.link(target, planted)
    else:
        planted.mkdir()
    assert kind == "hard-link" or Somebody().call(read_holder, tmp_path) is None
    # A descriptor that stayed open would make the next one differ.
    before = os.dup(0)
    os.close(before)
    assert kind == "hard-link" or read_holder(tmp_path) is None
    with pytest.raises(OSError, match=r".+"):
        DirectoryLock.acquire(tmp_path)
    after = os.dup(0)
    os.close(after)
    assert after == before
    assert target.read_bytes() == as_record()


def test_a_directory_that_is_missing_cannot_be_held(tmp_path: Path) -> None:
    """An exporter learns why it has no lock; a checker simply sees no holder."""
    with pytest.raises(FileNotFoundError):
        DirectoryLock.acquire(tmp_path / "missing")
    assert read_holder(tmp_path / "missing") is None


@needs_root
def test_a_full_disk_costs_the_record_and_not_the_lock(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An exporter starts, and ends, where workers have filled the disk."""
    space = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(space.f_bavail * space.f_frsize))
    lock = acquire(small_disk)
    lock.publish(Holder(os.getpid(), 1.0, (URL,)))
    assert "No space left" in caplog.text
    assert not Somebody().call(can_hold, small_disk)
    assert read_holder(small_disk) is None
    lock.release()
    assert Somebody().call(can_hold, small_disk)


@needs_root
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_users_of_a_group_follow_each_other(place: Path, umask: int) -> None:
    """In a shared directory an exporter may be started by another user of the group."""
    directory = place / "metrics"
    directory.mkdir()
    os.chown(directory, 0, SHARED_GROUP)
    directory.chmod(0o2770)
    for uid in (NOBODY, NOBODY - 1):
        assert Somebody(uid, (SHARED_GROUP,), umask).call(can_hold, directory)
    found = (directory / FILE_NAME).stat()
    assert (found.st_uid, found.st_gid) == (NOBODY, SHARED_GROUP)
    assert stat.S_IMODE(found.st_mode) == 0o660
