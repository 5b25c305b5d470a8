"""Commands and stages: what is a run and how it ended, and that nothing of it is in the way."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks.registry import registry
from django.core.management import CommandError, call_command, get_commands
from django.core.management.base import BaseCommand

from metrics_commands.commands import Stage, stage
from metrics_commands.instrumentation import guard
from metrics_commands.instrumentation.commands import UNCOUNTED, watch_commands
from metrics_commands.instrumentation.families import LatestGauge
from metrics_commands.testing import metric_value, read_samples
from tests.processes import ROOT, clean_environment, parse_samples, run, sample

NAME = "sqlflush"
RUNS = "django_command_runs_total"
SUCCEEDED = "django_command_last_success_timestamp_seconds"
COMPLETED = "django_command_last_completion_timestamp_seconds"
DURATION = "django_command_last_duration_seconds"
OF_RUNS = (RUNS, SUCCEEDED, COMPLETED, DURATION)
STAGE = "django_command_stage_last_duration_seconds"
RECORDS = "django_command_records_total"


@pytest.fixture(autouse=True)
def _watched() -> None:
    watch_commands()


class Command(BaseCommand):
    """Does what a test gives it."""

    requires_system_checks = ()

    def __init__(self, action: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.action = action

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--number", type=int)

    def handle(self, *args: Any, **options: Any) -> None:
        self.action()


def call(action: Callable[[], object], *arguments: str, name: str = NAME) -> BaseException | None:
    """Run a command as manage.py does, under a name of Django's; return what it ended with."""
    try:
        Command(action).run_from_argv(["manage.py", name, *arguments])
    except BaseException as error:
        return error
    return None


def count_runs(name: str = NAME) -> tuple[float, float]:
    """Return how many runs succeeded and failed."""
    success, failure = (
        metric_value(RUNS, command=name, outcome=outcome) or 0.0
        for outcome in ("success", "failure")
    )
    return success, failure


def fail(error: BaseException) -> Callable[[], object]:
    """Return what raises an exception."""

    def action() -> None:
        raise error

    return action


class Unhelpful:
    """What cannot be compared, nor be a condition."""

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("action", "arguments", "success"),
    [
        (lambda: None, [], True),
        (fail(SystemExit()), [], True),
        (fail(SystemExit(0)), [], True),
        (lambda: call_command(Command(fail(SystemExit(0)))), [], True),
        (fail(SystemExit(1)), [], False),
        (fail(SystemExit("No.")), [], False),
        (fail(SystemExit(Unhelpful())), [], False),
        (fail(CommandError("No.")), [], False),
        (fail(CommandError("No.")), ["--traceback"], False),
        (fail(ValueError()), [], False),
        (fail(KeyboardInterrupt()), [], False),
        (fail(asyncio.CancelledError()), [], False),
        (lambda: None, ["--number", "x"], False),
        (lambda: None, ["unknown"], False),
    ],
)
def test_the_exit_status_decides(
    action: Callable[[], object], arguments: list[str], success: bool
) -> None:
    """One run is counted, as the status of the process will be, and all that is raised goes on."""
    before, start = count_runs(), time.time()
    earlier = metric_value(SUCCEEDED, command=NAME)
    error = call(action, *arguments)
    assert count_runs() == (before[0] + success, before[1] + (not success))
    assert (error is None) or isinstance(error, SystemExit) or not success
    completed = metric_value(COMPLETED, command=NAME)
    assert completed is not None
    assert start <= completed <= time.time()
    assert metric_value(SUCCEEDED, command=NAME) == (completed if success else earlier)
    seconds = metric_value(DURATION, command=NAME)
    assert seconds is not None
    assert 0 < seconds <= time.time() - start


@pytest.mark.parametrize(
    "status",
    [256, -256, 2**32, -(2**63), True, False, -1, 255, 257, 2**63, 2**64, -(2**63) - 1],
)
def test_a_status_is_what_the_system_keeps_of_it(status: int) -> None:
    """A process that ends with the same status says whether it is a success."""
    before = count_runs()
    call(fail(SystemExit(status)))
    program = f"import sys; sys.exit({status})"
    success = subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert count_runs() == (before[0] + success, before[1] + (not success))


def test_system_checks_that_fail_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that checks do not let begin has failed."""

    def find_error(**kwargs: Any) -> list[checks.Error]:
        return [checks.Error("Bad.")]

    monkeypatch.setattr(Command, "requires_system_checks", ["broken"])
    before = count_runs()
    registered: Any = checks.register(find_error, "broken")
    try:
        error = call(lambda: None)
    finally:
        registry.registered_checks -= {registered}
    assert isinstance(error, SystemExit)
    assert count_runs() == (before[0], before[1] + 1)


@pytest.mark.parametrize(
    ("action", "arguments", "name"),
    [
        (lambda: None, ["--help"], NAME),
        (lambda: None, ["-h"], NAME),
        (lambda: None, ["--version"], NAME),
        (lambda: ArgumentParser().parse_args(["--help"]), [], NAME),
        *((lambda: None, [], name) for name in UNCOUNTED if name in get_commands()),
    ],
)
def test_help_and_what_runs_for_ever_are_no_runs(
    action: Callable[[], object], arguments: list[str], name: str
) -> None:
    """Asking for help or a version counts nothing, nor does a server or a shell."""
    before = read_samples()
    call(action, *arguments, name=name)
    after = read_samples()
    assert [after.get(each) for each in OF_RUNS] == [before.get(each) for each in OF_RUNS]


def test_what_is_no_run_is_documented() -> None:
    """docs/metrics.md names each command that is not counted, and none else."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    listed = re.search(
        r"^Every `manage.py` command counts, but .*:\n((?:.+\n)+)", text, re.MULTILINE
    )
    assert listed
    assert re.findall(r"`(.+?)`", listed[1]) == list(UNCOUNTED)


def test_a_command_within_a_command_is_no_run() -> None:
    """Only the outer one counts, also where the inner one is run by a command line."""
    before, inner = count_runs(), count_runs("sqlmigrate")

    def nest() -> None:
        call_command(Command())
        assert isinstance(call(fail(ValueError()), name="sqlmigrate"), ValueError)

    assert call(nest) is None
    assert count_runs() == (before[0] + 1, before[1])
    assert count_runs("sqlmigrate") == inner


def test_names_that_django_does_not_know_count_as_other() -> None:
    """A command that is run under an invented name makes no series of it."""
    before = count_runs("<other>")
    assert call(lambda: None, name="invented") is None
    assert count_runs("<other>") == (before[0] + 1, before[1])
    assert count_runs("invented") == (0, 0)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 shows every frame")
def test_tracebacks_are_as_without_us() -> None:
    """Between the caller and Django's own lines there is no line of ours."""
    error = call(fail(ValueError()))
    assert error is not None
    frames = [each.name for each in traceback.extract_tb(error.__traceback__)]
    assert frames == ["call", "run_from_argv", "execute", "handle", "action"]


def test_a_loss_is_logged_and_costs_the_number_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where counting itself fails, a command ends as it would have."""
    monkeypatch.setattr(guard, "_reported", set())
    monkeypatch.setattr(LatestGauge, "set", fail(OSError("No.")))
    assert isinstance(call(fail(KeyError())), KeyError)
    assert call(lambda: None) is None
    assert caplog.text.count("A number was lost while counting commands") == 1


def test_a_stage_is_timed_and_its_records_counted() -> None:
    """Within a command its time in a stage adds up, and records count at once."""
    seen: list[float | None] = []
    labels = {"command": NAME, "stage": "load"}

    def load() -> None:
        for _ in range(3):
            with stage("load") as loading:
                loading.add(40)
                loading.add()
                seen.append(metric_value(RECORDS, labels))
            seen.append(metric_value(STAGE, labels))

    assert call(load) is None
    first, first_time, second, second_time, third, third_time = (each or 0.0 for each in seen)
    assert (second - first, third - second) == (41, 41)
    assert 0 < first_time < second_time < third_time


def test_elsewhere_a_stage_has_no_command() -> None:
    """In a web worker each time replaces the one before."""
    labels = {"command": "", "stage": "wait"}
    for seconds in (0.02, 0.0):
        start = time.perf_counter()
        with stage("wait") as waiting:
            while time.perf_counter() < start + seconds:
                pass
            waiting.add(0.5)
        assert (metric_value(STAGE, labels) or 0.0) <= time.perf_counter() - start
    assert (metric_value(RECORDS, labels) or 0.0) % 1 == 0


def test_functions_and_coroutines_can_be_stages() -> None:
    """A decorated function keeps its name, arguments and result, and is timed to its end."""

    @stage("decorated")
    def double(number: int) -> int:
        return 2 * number

    @stage("awaited")
    async def double_later(number: int) -> int:
        await asyncio.sleep(0.01)
        return 2 * number

    assert (double.__name__, double(4), asyncio.run(double_later(4))) == ("double", 8, 8)
    assert metric_value(STAGE, command="", stage="decorated")
    assert (metric_value(STAGE, command="", stage="awaited") or 0.0) >= 0.009


def test_what_a_stage_raises_goes_on() -> None:
    """A stage that fails is timed, and its exception is the caller's."""
    with pytest.raises(ValueError, match="mine"), stage("fails"):
        raise ValueError("mine")
    assert metric_value(STAGE, command="", stage="fails")


class Unprintable:
    """What has no name."""

    def __str__(self) -> str:
        raise ValueError("no name")


@pytest.mark.parametrize("records", [-1, float("nan"), float("inf"), None, "many"])
def test_what_is_no_count_is_never_raised(records: Any) -> None:
    """A wrong number of records costs that number."""
    labels = {"command": "", "stage": "wrong"}
    with stage("wrong") as wrong:
        wrong.add(1)
        before = metric_value(RECORDS, labels)
        wrong.add(records)
    assert metric_value(RECORDS, labels) == before


def test_a_stage_without_a_name_is_never_raised() -> None:
    """A name that cannot be written costs the numbers of that stage."""
    nameless: Any = Unprintable()
    with Stage(nameless) as stays:
        stays.add(1)


LATEST = """
import os, sys
from metrics_commands.directory import use_metrics_directory
use_metrics_directory(sys.argv[1])
from prometheus_client import generate_latest
from django.conf import settings
settings.configure(INSTALLED_APPS=["metrics_commands"], SECRET_KEY="x")
import django
django.setup()
from metrics_commands.instrumentation.families import LatestGauge
latest = LatestGauge("latest", "Latest.", ["who"])
for value, moment in zip((7.0, 9.0), map(float, sys.argv[2:])):
    if not os.fork():
        latest.set(value, "both", moment=moment)
        latest.add(value, f"{value:g}", moment=moment)
        latest.add(value, f"{value:g}", moment=moment)
        os._exit(0)
    assert os.wait()[1] == 0
latest.set(5.0, "own", moment=1.0)
sys.stdout.write(generate_latest().decode())
"""


@pytest.mark.parametrize(("moments", "winner"), [((1000, 2000), 9), ((2000, 1000), 7)])
def test_of_several_processes_the_latest_is_shown(
    tmp_path: Path, moments: tuple[int, int], winner: int
) -> None:
    """Not who wrote last, but whose moment is the latest; a process shows its own."""
    environment = clean_environment(tmp_path)
    arguments: list[str | Path] = [tmp_path / "metrics", *map(str, moments)]
    done = run([sys.executable, "-c", LATEST, *arguments], environment)
    assert done.returncode == 0, done.stderr
    inside = parse_samples(done.stdout)
    assert sample(inside, "latest", who="own") == 5
    assert sample(inside, "latest", who="both") is None
    done = run([sys.executable, ROOT / "manage.py", "runmetrics", "--once"], environment)
    outside = parse_samples(done.stdout)
    assert sample(outside, "latest", who="both") == winner
    assert sample(outside, "latest", who="own") == 5
    assert [sample(outside, "latest", who=each) for each in ("7", "9")] == [14, 18]
