"""Identities of workers: unique, stable, and telling whether a pid means anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from metrics_commands.multiprocess.identity import worker_identity
from tests.multiprocess.somebody import Somebody, needs_root
from tests.multiprocess.writers import describe_process, list_identities
from tests.processes import ROOT

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
ASK = "from metrics_commands.multiprocess.identity import worker_identity; print(worker_identity())"


def test_is_stable_in_a_process_and_new_in_every_fork() -> None:
    """A preloading server's workers each write files of their own, the parent its old ones."""
    first, child, grandchild, sibling, last = Somebody().call(list_identities)
    assert first == last
    assert len({first, child, grandchild, sibling}) == 4


def test_is_new_in_an_image_that_replaces_another() -> None:
    """A server that re-executes itself keeps its pid but never writes into its old files."""
    code = f"{ASK}; import os, sys; sys.stdout.flush(); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", code, sys.executable, "-c", ASK]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before, after = output.split()
    assert before.split("-")[0] == after.split("-")[0]
    assert before != after


def test_keeps_file_names_readable() -> None:
    """Readers split a file's name at underscores, so the identity holds none, and no slash."""
    identity = worker_identity()
    assert not {"_", "/", "."} & set(identity)
    assert len(identity) < 100


@needs_linux
def test_tells_pid_start_namespace_and_boot() -> None:
    """An exporter finds in a file's name whether its writer's pid means anything to it."""
    pid, start, namespace, boot, _ = worker_identity().split("-")
    assert int(pid) == os.getpid()
    started = psutil.boot_time() + int(start) / os.sysconf("SC_CLK_TCK")
    assert started == pytest.approx(psutil.Process().create_time(), abs=2)
    assert int(namespace) == Path("/proc/self/ns/pid").stat().st_ino
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text()
    assert boot_id.replace("-", "").startswith(boot)
    assert len(boot) == 12


@needs_linux
def test_start_is_right_whatever_the_program_is_called(tmp_path: Path) -> None:
    """A program's name with spaces and parentheses does not shift the fields of /proc."""
    program = tmp_path / "a) S 1 (b"
    program.symlink_to(Path(sys.executable).resolve())
    code = f"{ASK}; import psutil; print(psutil.Process().create_time() - psutil.boot_time())"
    output = subprocess.run(
        [program, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    identity, age = output.split()
    ticks = int(identity.split("-")[1])
    assert ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(float(age), abs=2)


@needs_root
@needs_linux
def test_tells_containers_apart() -> None:
    """Two containers whose workers both have pid 1 are told apart by their PID namespaces."""
    container = Somebody(wrapper=("unshare", "--pid", "--fork", "--mount-proc"))
    identity, pid, namespace = container.call(describe_process)
    assert pid == 1
    assert identity.split("-")[0] == "1"
    assert identity.split("-")[2] == str(namespace)
    assert identity.split("-")[2] != worker_identity().split("-")[2]


@needs_root
@needs_linux
def test_works_without_proc() -> None:
    """In a sandbox that hides /proc, workers still have different names of the same shape."""
    hide = 'mount -t tmpfs none /proc && exec "$@"'
    sandbox = Somebody(wrapper=("unshare", "--mount", "sh", "-c", hide, "sh"))
    names = sandbox.call(list_identities)
    assert len(set(names)) == 4
    for name in names:
        pid, start, namespace, boot, random = name.split("-")
        assert pid.isdecimal()
        assert start.isdecimal()
        assert (namespace, boot) == ("0", "0")
        assert random
