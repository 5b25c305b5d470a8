"""Count how the commands of ``manage.py`` end, by wrapping ``BaseCommand.run_from_argv``.

The process's exit status decides: whatever leaves a command but a return and ``sys.exit(0)`` is a
failure. A process that is ended from outside, by SIGKILL or a SIGTERM that nobody handles, or by
``os._exit()``, leaves no completion.
"""

from __future__ import annotations

import math
import os
import time
from argparse import ArgumentParser
from collections.abc import Callable
from functools import wraps
from time import perf_counter
from typing import Any, NamedTuple

from django.core.management import get_commands
from django.core.management.base import BaseCommand

from .command_families import command_families
from .families import OTHER
from .guard import report_loss

SUCCESS, FAILURE = "success", "failure"

# They run until somebody stops them, or for as long as somebody sits there; or they are tests.
UNCOUNTED = (
    "celery", "checkports", "db_worker", "dbshell", "process_tasks", "procrastinate", "qcluster",
    "qmonitor", "rqscheduler", "rqworker", "rqworker-pool", "run_huey", "runapscheduler",
    "rundramatiq", "runmetrics", "runserver", "runserver_plus", "runsslserver", "runworker",
    "scheduler_worker", "shell", "shell_plus", "test", "testserver",
)  # fmt: skip

RunFromArgv = Callable[[BaseCommand, list[str]], Any]


class Run(NamedTuple):
    """A command that this process runs."""

    command: str
    pid: int
    start: float

    @property
    def is_counted(self) -> bool:
        """Tell whether this process is to count how it ends; a fork of it is not."""
        return self.command not in UNCOUNTED and self.pid == os.getpid()


_running: Run | None = None


def watch_commands() -> None:
    """Count how the commands end that this process runs from its command line."""
    try:
        if not hasattr(BaseCommand.run_from_argv, "counted"):
            counted: Any = make_counted(BaseCommand.run_from_argv)
            BaseCommand.run_from_argv = counted  # type: ignore[method-assign]
    except Exception:
        report_loss("commands")


def make_counted(run_from_argv: RunFromArgv) -> RunFromArgv:
    """Return the method so that it also counts each run that is not within another run."""

    @wraps(run_from_argv)
    def run_counted(self: BaseCommand, argv: list[str]) -> Any:
        global _running
        if _running is not None:
            return run_from_argv(self, argv)
        run = _running = Run(find_name(self, argv), os.getpid(), perf_counter())
        try:
            result = run_from_argv(self, argv)
        except BaseException as error:
            record_end(run, error)
            # Nobody looks for us in a traceback; Python 3.10 shows us nevertheless.
            error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
            raise
        else:
            record_end(run, None)
            return result
        finally:
            _running = None

    run_counted.counted = True  # type: ignore[attr-defined]
    return run_counted


def find_name(command: BaseCommand, argv: list[str]) -> str:
    """Return the name that Django knows a command by."""
    try:
        for name in (*argv[1:2], type(command).__module__.rpartition(".")[2]):
            if name in get_commands():
                return name
    except Exception:
        report_loss("commands")
    return OTHER


def record_end(run: Run, error: BaseException | None) -> None:
    """Count a run by what it ended with; a failed one leaves the last success alone."""
    try:
        if not run.is_counted or is_help(error):
            return
        families, now = command_families(), time.time()
        outcome = SUCCESS if is_success(error) else FAILURE
        for each in (SUCCESS, FAILURE):
            # Both are there from the first time on, since Prometheus sees no step from nothing.
            families.runs.inc(run.command, each, amount=float(each == outcome))
        families.last_duration.set(perf_counter() - run.start, run.command, moment=now)
        families.last_completion.set(now, run.command, moment=now)
        if outcome == SUCCESS:
            families.last_success.set(now, run.command, moment=now)
    except Exception:
        report_loss("commands")


def is_success(error: BaseException | None) -> bool:
    """Tell whether the exit status will be 0.

    Python makes -1 of what is longer than 64 bits, and the kernel keeps 8 of the rest.
    """
    if not isinstance(error, SystemExit):
        return error is None
    code = error.code
    if not isinstance(code, int):
        return code is None
    return -(2**63) <= code < 2**63 and code % 256 == 0


def is_help(error: BaseException | None) -> bool:
    """Tell whether argparse itself ended a command well, having shown its help or version."""
    if error is None or not is_success(error):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is ArgumentParser.exit.__code__


def record_stage(stage: object, seconds: float) -> None:
    """Record a stage's seconds: the sum within a counted command, elsewhere only the last ones."""
    try:
        duration, now = command_families().stage_duration, time.time()
        is_run = _running is not None and _running.command not in UNCOUNTED
        put = duration.add if is_run else duration.set
        put(seconds, running_command(), str(stage), moment=now)
    except Exception:
        report_loss("stages")


def record_processed(stage: object, records: float) -> None:
    """Count records that a stage has processed."""
    try:
        if not 0 <= records < math.inf:
            raise ValueError(f"{records} records cannot be processed")
        command_families().records.inc(running_command(), str(stage), amount=records)
    except Exception:
        report_loss("records")


def running_command() -> str:
    """Return the name of the command that this process runs; '' where it is none."""
    return _running.command if _running is not None else ""
