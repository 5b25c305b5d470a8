"""Metrics directories as machines have them: shared, read-only, missing, full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.e2e.traffic import Kind, assert_exact, send, send_mix, wait_for_web
from tests.processes import BIN, exporter, free_port, run, run_manage, sample, scrape, started

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and other users need root")
NOBODY = 65534
# Imported first: Python itself may lie where the other user cannot read.
BECOME = """
    os.setgroups([int(os.environ["GROUP_ID"])])
    os.setgid(int(os.environ["GROUP_ID"]))
    os.setuid(int(os.environ["USER_ID"]))
"""
READ = f"""
import os
from pathlib import Path
from metrics_commands.multiprocess.reader import DirectoryReader
if "USER_ID" in os.environ:{BECOME}
(family,) = DirectoryReader(Path(os.environ["SHARED"])).read().families()
print(family.samples[0].value)
"""
COUNT = f"""
import os
from metrics_commands.directory import use_metrics_directory
from metrics_commands.multiprocess import directory, identity, value_file
from prometheus_client import Counter
os.umask(0o077)
if "USER_ID" in os.environ:{BECOME}
use_metrics_directory(os.environ["SHARED"])
Counter("visits_total", "Visits.").inc(int(os.environ["VISITS"]))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 256 KB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def gunicorn(port: int) -> list[str | Path]:
    """Return the command of a web process with two workers of two threads."""
    bind = ("--bind", f"127.0.0.1:{port}")
    return [BIN / "gunicorn", "project.wsgi", *bind, "--workers", "2", "--threads", "2"]


@needs_root
def test_a_full_disk_costs_no_worker_and_no_request(
    environment: dict[str, str], small_disk: Path
) -> None:
    """On 256 KB that fill up under load, every request is answered by the same workers."""
    (small_disk / "ballast").write_bytes(bytes(200 * 1024))
    port = free_port()
    full = environment | {"PROMETHEUS_MULTIPROC_DIR": str(small_disk / "metrics")}
    with started(gunicorn(port), full) as web:
        wait_for_web(port)
        workers = {each.pid for each in psutil.Process(web.pid).children()}
        send_mix(port, 5)
        names = [Kind("GET", f"/products/{number}/", 404) for number in range(200)]
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda kind: send(port, kind), names)) == {404}
        assert {each.pid for each in psutil.Process(web.pid).children()} == workers
        assert "stay in its memory" in web.output
        assert os.statvfs(small_disk).f_bavail == 0
        with exporter(full) as (_, url):
            scrape(url)


@needs_root
def test_two_users_share_a_setgid_directory(environment: dict[str, str], tmp_path: Path) -> None:
    """Workers of two users write, and either of them reads all of it."""
    place = tmp_path / "shared"
    place.mkdir()
    os.chown(place, 0, NOBODY)
    place.chmod(0o2770)
    for parent in (tmp_path, *tmp_path.parents):
        if parent.owner() == "root" and parent.name.startswith("pytest"):
            parent.chmod(0o755)
    tmp_path.chmod(0o777)
    for user, visits in ((0, 3), (NOBODY, 4)):
        shared = {"SHARED": str(place), "VISITS": str(visits)}
        person = {"USER_ID": str(user), "GROUP_ID": str(NOBODY)}
        done = run([sys.executable, "-c", COUNT], environment | shared | person)
        assert (done.returncode, done.stderr) == (0, "")
        seen = run([sys.executable, "-c", READ], environment | shared | person)
        assert (seen.stdout, seen.stderr) == (f"{float(3 if user == 0 else 7)}\n", "")
    with exporter(environment, "--metrics-dir", str(place)) as (_, url):
        assert sample(scrape(url), "visits_total") == 7
    assert {oct(file.stat().st_mode & 0o777) for file in place.glob("*.db")} == {"0o660"}


@needs_root
def test_a_read_only_directory_is_served_and_blocks_nothing(
    environment: dict[str, str], small_disk: Path
) -> None:
    """What lies on a read-only volume is served; a web process there keeps its own numbers."""
    count = environment | {"SHARED": str(small_disk / "metrics"), "VISITS": "5"}
    assert run([sys.executable, "-c", COUNT], count).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    sealed = environment | {"PROMETHEUS_MULTIPROC_DIR": str(small_disk / "metrics")}
    port = free_port()
    with exporter(sealed) as (process, url), started(gunicorn(port), sealed) as web:
        wait_for_web(port)
        assert sample(scrape(url), "visits_total") == 5
        assert "cannot be locked" in process.output
        web.wait_for("file system is read-only")


@pytest.mark.parametrize("below", ["", "metrics"])
def test_a_file_in_the_place_of_the_directory_is_told_once(
    environment: dict[str, str], tmp_path: Path, below: str
) -> None:
    """Whoever names a file is told to name a directory, and which one the workers write."""
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / below)
    with exporter(environment, "--metrics-dir", place) as (process, url):
        scrape(url)
        served = process.output
    printed = run_manage(environment, "runmetrics", "--once", "--metrics-dir", place).stderr
    for output in (served, printed):
        told = [line for line in output.splitlines() if place in line and "WARNING" in line]
        assert [line.rpartition(".")[2] for line in told] == ["W030)", "W022)"]
        assert f"write {environment['DATA_DIR']}/metrics." in told[0]
        assert "Name a directory." in told[1]
        assert "Traceback" not in output


def test_a_missing_directory_is_made_and_recovers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """An exporter started first serves itself, and the workers' numbers once they come."""
    place = tmp_path / "not" / "yet"
    later = environment | {"PROMETHEUS_MULTIPROC_DIR": str(place)}
    port = free_port()
    with exporter(later) as (process, url):
        assert "No process has written there yet" in process.output
        assert sample(scrape(url), "django_http_requests_before_middlewares_total") is None
        with started(gunicorn(port), later):
            sent = wait_for_web(port) + send_mix(port, 1)
            assert_exact(scrape(url), sent)
    assert place.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_strangers_directory_is_neither_read_nor_written(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Where everybody may write, somebody else's subdirectory in our name is left alone."""
    place = tmp_path / "everybody"
    place.mkdir()
    place.chmod(0o1777)
    inner = place / "django-metrics-uid0"
    count = environment | {"SHARED": str(inner), "VISITS": "6"}
    assert run([sys.executable, "-c", COUNT], count).returncode == 0
    os.chown(inner, NOBODY, NOBODY)
    before = sorted(os.listdir(inner))
    with exporter(environment, "--metrics-dir", str(place)) as (process, url):
        assert "another user made it" in process.output
        assert sample(scrape(url), "visits_total") is None
    assert sorted(os.listdir(inner)) == before


def test_a_start_can_be_interrupted_and_left(environment: dict[str, str], tmp_path: Path) -> None:
    """Modules that sleep or start threads keep the exporter neither from ending nor from life."""
    (tmp_path / "slow_app").mkdir()
    (tmp_path / "slow_app" / "__init__.py").write_text("")
    (tmp_path / "slow_app" / "metrics.py").write_text(
        "import os, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "print('importing', flush=True)\n"
        "time.sleep(float(os.environ['NAP']))\n"
    )
    (tmp_path / "bare.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['metrics_commands', 'slow_app']\nDATABASES = {}\n"
    )
    bare = environment | {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": str(tmp_path)}
    command: list[str | Path] = [sys.executable, "manage.py", "runmetrics"]
    with started(command, bare | {"NAP": "600"}) as process:
        process.wait_for("importing")
        assert process.stop() == 0
    with exporter(bare | {"NAP": "0"}) as (process, _):
        assert process.stop() == 0
        assert "left behind" in process.output


def test_without_any_directory_the_exporter_says_what_is_missing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """It serves its own collectors and names the line to add."""
    (tmp_path / "bare.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['metrics_commands']\nDATABASES = {}\n"
    )
    bare = environment | {"DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": str(tmp_path)}
    with exporter(bare) as (process, url):
        assert "use_metrics_directory(BASE_DIR" in process.output
        assert sample(scrape(url), "django_exporter_collector_success", collector="process") == 1
