"""Tell who holds a port, as far as the kernel lets us see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import psutil

from . import command_line, programs
from .cgroup import find_group
from .listeners import Listener, find_first_holder
from .probe import Probe, State
from .unseen import explain_unseen


@dataclass(frozen=True)
class Owner:
    """The process that holds a port: ``command`` by the allow-list, ``since`` in Unix seconds.

    The rest is '' where it cannot be told: ``parent`` as in "pid 812, gunicorn", the systemd
    ``unit``, the ``container`` if it is not ours too, the ``program`` if it is known, and the
    ``advice`` for it; ``directory`` is where another ``runmetrics`` works.
    """

    pid: int
    command: str
    user: str
    since: float
    parent: str = ""
    unit: str = ""
    container: str = ""
    program: str = ""
    advice: str = ""
    directory: str = ""

    @property
    def started(self) -> datetime:
        """Return since when it runs, in local time."""
        return datetime.fromtimestamp(self.since).astimezone()

    def __str__(self) -> str:
        parts = [
            f"pid {self.pid}, {self.command}, user {self.user}",
            f"since {self.started.isoformat(' ', 'seconds')}",
        ]
        parts += [f"unit {self.unit}"] if self.unit else []
        parts += [f"container {self.container}"] if self.container else []
        parts += [f"child of {self.parent}"] if self.parent else []
        return ", ".join(parts)


@dataclass(frozen=True)
class Unseen:
    """An owner that we may not see, and why."""

    why: str

    def __str__(self) -> str:
        return self.why


def find_owner(
    probe: Probe, rival: Listener | None, explain: Callable[[bool], str] = explain_unseen
) -> Owner | Unseen | None:
    """Return who holds a taken port, or why that cannot be seen; None if it is not taken."""
    if probe.state is not State.TAKEN:
        return None
    if rival is None or rival.pid is None:
        return Unseen(explain(rival is not None))
    return describe_process(find_first_holder(rival, rival.pid), probe.port)


def describe_process(pid: int, port: int = 0) -> Owner | Unseen:
    """Return what may be told of a process, with advice for the port that it holds."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            argv, name = _read_argv(process), process.name()
            program = programs.recognise(argv, name, port)
            group = find_group(pid)
            return Owner(
                pid,
                command_line.describe(argv),
                _user(process),
                process.create_time(),
                parent=_parent(process),
                unit=group.unit,
                container=group.container,
                program=program.name,
                advice=program.advice.format(port=port),
                directory=_directory(process) if program is programs.RUNMETRICS else "",
            )
    except psutil.NoSuchProcess:
        return Unseen(f"pid {pid}, which has ended meanwhile")
    except (psutil.Error, OSError):
        return Unseen(f"pid {pid}, of which nothing more can be seen")


def _read_argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() or [process.name()]
    except psutil.AccessDenied:
        return [process.name()]


def _user(process: psutil.Process) -> str:
    try:
        return command_line.escape(process.username())
    except (KeyError, psutil.AccessDenied):
        return "unknown"


def _parent(process: psutil.Process) -> str:
    try:
        parent = process.parent()
        if parent is None or parent.pid <= 1:
            return ""
        return f"pid {parent.pid}, {programs.name(_read_argv(parent), parent.name())}"
    except (psutil.Error, OSError):
        return ""


def _directory(process: psutil.Process) -> str:
    try:
        return command_line.escape(process.cwd())
    except (psutil.Error, OSError):
        return ""
