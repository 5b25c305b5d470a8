"""Commands in processes of their own: how each ended is counted, and is as without counting."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import (
    ROOT,
    Samples,
    exporter,
    run_manage,
    sample,
    scrape,
    started,
    wait_until,
)

SETTINGS = """
import os
from project.settings import *
INSTALLED_APPS = ["metrics_commands", "project.shop", "jobs"]
if "UNCOUNTED" in os.environ:
    INSTALLED_APPS.remove("metrics_commands")
"""
JOB = """
import os, signal, sys
from django.core.management import CommandError, call_command, execute_from_command_line
from django.core.management.base import BaseCommand
from metrics_commands.commands import stage

def fork_and_leave():
    if not os.fork():
        sys.exit(1)
    os.wait()

def refuse():
    raise CommandError("No.", returncode=4)

def load():
    for batch in (3, 4):
        with stage("load") as loading:
            loading.add(batch)

def wait():
    print("waiting", flush=True)
    signal.pause()

def handle_sigterm():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wait()

class Command(BaseCommand):
    requires_system_checks = ()
    actions = {
        "end": lambda: None,
        "exit": lambda: sys.exit(0),
        "exit_3": lambda: sys.exit(3),
        "refuse": refuse,
        "crash": lambda: {}["crash"],
        "interrupt": lambda: signal.raise_signal(signal.SIGINT),
        "kill": lambda: signal.raise_signal(signal.SIGKILL),
        "leave": lambda: os._exit(0),
        "nest": lambda: (call_command("job", "end"), execute_from_command_line(["", "check"])),
        "fork": fork_and_leave,
        "load": load,
        "wait": wait,
        "handle_sigterm": handle_sigterm,
    }

    def add_arguments(self, parser):
        parser.add_argument("action", choices=self.actions)

    def handle(self, *args, **options):
        self.stdout.write("begun")
        self.actions[options["action"]]()
"""
RUNS = "django_command_runs_total"
SUCCEEDED = "django_command_last_success_timestamp_seconds"
COMPLETED = "django_command_last_completion_timestamp_seconds"
DURATION = "django_command_last_duration_seconds"
SUCCESS, FAILURE, NO_RUN = (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)


@pytest.fixture
def jobs(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Return the environment of a shop with a command of its own."""
    folder = tmp_path / "code" / "jobs" / "management" / "commands"
    folder.mkdir(parents=True)
    (folder / "job.py").write_text(JOB)
    (tmp_path / "code" / "job_settings.py").write_text(SETTINGS)
    path = {"PYTHONPATH": str(tmp_path / "code"), "DJANGO_SETTINGS_MODULE": "job_settings"}
    return environment | path


def read_once(environment: dict[str, str]) -> Samples:
    """Return what an exporter that is started now has to say."""
    with exporter(environment) as (_, url):
        return scrape(url)


def count_runs(samples: Samples, command: str) -> tuple[float, float]:
    """Return how many runs of a command succeeded and failed."""
    success, failure = (
        sample(samples, RUNS, command=command, outcome=outcome) or 0.0
        for outcome in ("success", "failure")
    )
    return success, failure


def describe(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Return all that a caller sees of a command; Python 3.10 shows a frame more."""
    said = done.stderr if sys.version_info >= (3, 11) else ""
    return done.returncode, done.stdout, said


def test_whatever_a_command_does_is_counted_and_as_before(jobs: dict[str, str]) -> None:
    """Status, output and traceback are as without counting; one run counts, or none."""
    expected = {
        ("end",): (0, SUCCESS),
        ("exit",): (0, SUCCESS),
        ("exit_3",): (3, FAILURE),
        ("refuse",): (4, FAILURE),
        ("crash",): (1, FAILURE),
        ("interrupt",): (-signal.SIGINT, FAILURE),
        ("nonsense",): (2, FAILURE),
        ("kill",): (-signal.SIGKILL, NO_RUN),
        ("leave",): (0, NO_RUN),
        ("nest",): (0, SUCCESS),
        ("fork",): (0, SUCCESS),
        ("end", "--help"): (0, NO_RUN),
    }
    uncounted = jobs | {"UNCOUNTED": "1"}
    with exporter(jobs) as (_, url):
        before = (0.0, 0.0)
        for arguments, (status, counted) in expected.items():
            done = run_manage(jobs, "job", *arguments)
            assert describe(done) == describe(run_manage(uncounted, "job", *arguments))
            assert done.returncode == status, done.stderr
            samples = scrape(url)
            after = count_runs(samples, "job")
            assert (after[0] - before[0], after[1] - before[1]) == counted, arguments
            before = after
        assert count_runs(samples, "check") == NO_RUN


def test_a_failed_run_never_erases_the_last_success(jobs: dict[str, str], home: Path) -> None:
    """Not by another process, not in the archive, and not after the exporter's restart."""
    start = time.time()
    assert run_manage(jobs, "job", "end").returncode == 0
    first = read_once(jobs)
    success = sample(first, SUCCEEDED, command="job")
    assert success is not None
    assert start < success < time.time()
    assert success == sample(first, COMPLETED, command="job")
    assert run_manage(jobs, "job", "crash").returncode == 1
    with exporter(jobs) as (_, url):
        second = scrape(url)
        if hasattr(fcntl, "F_SETLEASE"):
            kinds = [f"{kind}_archive.db" for kind in ("counter", "gauge_mostrecent")]
            metrics = home / "metrics"
            wait_until(lambda: sorted(path.name for path in metrics.glob("*.db")) == kinds)
        assert keep_commands(scrape(url)) == keep_commands(second)
    completion = sample(second, COMPLETED, command="job") or 0.0
    assert completion > success
    assert run_manage(jobs, "job", "exit_3").returncode == 3
    third = read_once(jobs)
    for samples, runs in ((second, (1, 1)), (third, (1, 2))):
        assert sample(samples, SUCCEEDED, command="job") == success
        assert count_runs(samples, "job") == runs
    assert (sample(third, COMPLETED, command="job") or 0.0) > completion
    assert run_manage(jobs, "job", "end").returncode == 0
    fourth = read_once(jobs)
    assert (sample(fourth, SUCCEEDED, command="job") or 0.0) > success


def keep_commands(samples: Samples) -> Samples:
    """Return the samples of commands alone."""
    return {key: value for key, value in samples.items() if key[0].startswith("django_command_")}


def test_commands_of_the_shop_that_ships(environment: dict[str, str]) -> None:
    """Django's own commands count by name, a shell and the exporter do not."""
    assert run_manage(environment, "migrate").returncode == 0
    assert run_manage(environment, "migrate", "absent").returncode == 1
    assert run_manage(environment, "check").returncode == 0
    assert run_manage(environment, "shell", "-c", "pass").returncode == 0
    assert run_manage(environment, "absent").returncode == 1
    assert run_manage(environment, "generate_traffic", "--requests", "0").returncode == 0
    assert run_manage(environment, "check", "--version").returncode == 0
    samples = read_once(environment)
    runs = {name: count_runs(samples, name) for name in ("migrate", "check", "generate_traffic")}
    assert runs == {"migrate": (1, 1), "check": (1, 0), "generate_traffic": (1, 0)}
    assert sum(value for (name, _), value in samples.items() if name == RUNS) == 4
    assert 0 < (sample(samples, DURATION, command="migrate") or 0.0) < 60


def test_stages_and_records_of_a_command(jobs: dict[str, str]) -> None:
    """They reach the page under the command's name, and are those of the last run."""
    labels = {"command": "job", "stage": "load"}
    seconds = []
    for runs in (1, 2):
        assert run_manage(jobs, "job", "load").returncode == 0
        samples = read_once(jobs)
        assert sample(samples, "django_command_records_total", **labels) == 7 * runs
        seconds.append(sample(samples, "django_command_stage_last_duration_seconds", **labels))
    assert seconds[0] != seconds[1]
    assert all(0 < (each or 0.0) < 60 for each in seconds)


@pytest.mark.parametrize(
    ("action", "status", "counted"),
    [("wait", -signal.SIGTERM, NO_RUN), ("handle_sigterm", 143, FAILURE)],
)
def test_sigterm_is_a_failure_where_it_is_handled(
    jobs: dict[str, str], action: str, status: int, counted: tuple[float, float]
) -> None:
    """What ends a process at once leaves nothing, and what a command makes of it counts."""
    with started([sys.executable, ROOT / "manage.py", "job", action], jobs) as process:
        process.wait_for("waiting")
        assert process.stop() == status
    assert count_runs(read_once(jobs), "job") == counted
