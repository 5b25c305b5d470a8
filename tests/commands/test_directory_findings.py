"""What checkports says of real directories, and that looking changes none of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metrics_commands.conf import Config, load_config
from metrics_commands.directory import decision
from metrics_commands.errors import name_user
from metrics_commands.finding import Finding
from metrics_commands.management.directory_findings import (
    describe_access,
    examine_directory,
)
from metrics_commands.multiprocess.lock import DirectoryLock, Holder, own_create_time
from tests.ports.sockets import BECOME_NOBODY, NOBODY, needs_root, run_python
from tests.processes import clean_environment, run_manage

PREPARE = """
from django.conf import settings
settings.configure()
from metrics_commands.conf import load_config
from metrics_commands.management.directory_findings import examine_directory
"""
EXAMINE = """
for each in examine_directory(load_config({{"metrics_dir": {!r}}})):
    print(each.id, each.severity)
"""


def configure(path: Path | None) -> Config:
    """Return a configuration with a metrics directory, or without one."""
    return load_config({"metrics_dir": str(path)} if path else {})


def examine(path: Path | None) -> dict[str, Finding]:
    """Return the findings about a directory, by the number of each."""
    found = list(examine_directory(configure(path)))
    numbers = {each.id.rpartition(".")[2]: each for each in found}
    assert len(numbers) == len(found)
    return numbers


@pytest.fixture(autouse=True)
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a metrics directory that the settings name, too; it does not exist yet."""
    path = tmp_path / "metrics"
    monkeypatch.setattr(decision, "path", path)
    return path


def test_a_directory_that_does_not_exist_yet_is_fine(metrics: Path) -> None:
    """Before the first start there is nothing to correct, and nothing is made."""
    (found,) = examine(metrics).values()
    assert (found.id[-4:], found.severity) == ("W021", "info")
    assert not metrics.exists()


@needs_root
def test_a_place_for_everybody_gets_a_directory_of_one_s_own(metrics: Path) -> None:
    """Before the first worker has made its own directory in /tmp, nothing is wrong there."""
    metrics.mkdir()
    metrics.chmod(0o1777)
    (found,) = examine(metrics).values()
    assert (found.id[-4:], found.severity) == ("W021", "info")
    assert f"{metrics}/django-metrics-uid0 does not exist yet" in found.what
    assert list(metrics.iterdir()) == []


@pytest.mark.parametrize("parent", ["file", "file/below", "file/far/below"])
def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path, parent: str) -> None:
    """Where a parent is no directory, root cannot make one either; the line to write is told."""
    (tmp_path / "file").write_text("")
    path = tmp_path / parent / "metrics"
    decision.path = path
    found = examine(path)["W022"]
    assert found.severity == "error"
    assert str(path) in found.what


def test_a_directory_is_described(metrics: Path) -> None:
    """Owner, mode and the number of workers are there to be compared."""
    metrics.mkdir(mode=0o700)
    (found,) = examine(metrics).values()
    assert found.id[-4:] == "W026"
    assert f"owner {name_user(os.geteuid())}, mode 0700" in found.what
    assert found.what.endswith(": 0.")
    assert found.why


def test_an_exporter_that_serves_already_is_named(metrics: Path) -> None:
    """Who starts a second one knows the pid and the URL of the first."""
    metrics.mkdir(mode=0o700)
    lock = DirectoryLock.acquire(metrics)
    assert lock is not None
    url = "http://127.0.0.1:8001/metrics"
    lock.publish(Holder(os.getpid(), own_create_time(), (url,), 8001))
    assert f"pid {os.getpid()} at {url}." in examine(metrics)["W028"].what
    lock.release()
    assert "W028" not in examine(metrics)


def test_another_directory_than_the_workers_is_told(tmp_path: Path, metrics: Path) -> None:
    """An exporter that reads elsewhere is warned of, with the variable for the web process."""
    found = examine(tmp_path / "other")["W030"]
    assert str(metrics) in found.what
    assert found.changes[0].write == f"PROMETHEUS_MULTIPROC_DIR={tmp_path / 'other'}"
    assert "W030" not in examine(metrics)


def test_everybody_s_directory_is_doubtful(metrics: Path) -> None:
    """The command that corrects it is told, and does."""
    metrics.mkdir()
    metrics.chmod(0o777)
    if os.geteuid() == 0:
        for each in (metrics, metrics.parent):
            os.chown(each, NOBODY, NOBODY)
    found = examine(metrics)["W005"]
    (change,) = found.changes
    subprocess.run(["/bin/sh", "-c", change.write], check=True)
    assert "W005" not in examine(metrics)


def test_without_a_directory_the_system_check_says_so_once(tmp_path: Path) -> None:
    """No metrics directory is one error of one id, not two."""
    assert examine(None) == {}
    (tmp_path / "bare.py").write_text('SECRET_KEY = "x"\nINSTALLED_APPS = ["metrics_commands"]\n')
    environment = clean_environment(
        tmp_path, DJANGO_SETTINGS_MODULE="bare", PYTHONPATH=str(tmp_path)
    )
    answer = run_manage(environment, "checkports", "--port", "0")
    assert answer.returncode == 1
    assert answer.stdout.count("(metrics_commands.W003)") == 1


@pytest.fixture
def small_disk(metrics: Path) -> Iterator[Path]:
    """Return a metrics directory on a file system of its own, of four megabytes."""
    metrics.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "none", str(metrics)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield metrics
    subprocess.run(["umount", str(metrics)], check=True)


@needs_root
def test_a_full_disk_is_foreseen(small_disk: Path) -> None:
    """Little space is told before metrics stay in memory for lack of it."""
    assert examine(small_disk)["W024"].what == f"Metrics directory {small_disk} has 4096 KiB left."


@needs_root
@pytest.mark.parametrize(
    ("owner", "mode", "expected"),
    [
        (0, 0o700, "W022 error"),
        (0, 0o755, "W023 warning"),
        (NOBODY, 0o500, "W023 warning"),
        (NOBODY, 0o700, "W026 info"),
        (0, None, "W022 error"),
    ],
)
def test_what_another_user_may_not_do_is_told(
    common_ground: Path, owner: int, mode: int | None, expected: str
) -> None:
    """An exporter that runs as another user is told what it would miss."""
    metrics = common_ground / "metrics"
    if mode is not None:
        metrics.mkdir()
        os.chown(metrics, owner, owner)
        metrics.chmod(mode)
    seen = run_python(EXAMINE.format(str(metrics)), before=PREPARE + BECOME_NOBODY)
    assert seen.splitlines()[0] == f"metrics_commands.{expected}"
    assert metrics.exists() is (mode is not None)


@needs_root
def test_users_have_names_where_they_have_one(tmp_path: Path) -> None:
    """A container's user without an entry in /etc/passwd is no error."""
    assert describe_access(tmp_path).startswith("owner root, mode 0700")
    assert name_user(2**31) == str(2**31)
