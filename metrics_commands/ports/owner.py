"""Find who holds a port, as far as the kernel lets us see."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil

from . import command_line
from .address import Address
from .probe import Probe, State

WILDCARDS = {"0.0.0.0", "::", "*", ""}


@dataclass(frozen=True)
class Owner:
    """The process that holds a port: ``command`` by the allow-list, ``since`` in Unix seconds."""

    pid: int
    command: str
    user: str
    since: float

    def __str__(self) -> str:
        started = datetime.fromtimestamp(self.since).astimezone().isoformat(" ", "seconds")
        return f"pid {self.pid}, {self.command}, user {self.user}, since {started}"


@dataclass(frozen=True)
class Unseen:
    """An owner that we may not see, and why."""

    why: str

    def __str__(self) -> str:
        return self.why


@dataclass(frozen=True)
class Listener:
    """A listening socket: ``pid`` is None where the kernel hides it from us."""

    family: socket.AddressFamily
    host: str
    port: int
    pid: int | None


def list_listeners() -> list[Listener]:
    """Return all listening TCP sockets that can be seen."""
    try:
        return [
            Listener(each.family, each.laddr.ip, each.laddr.port, each.pid)
            for each in _keep_listening(psutil.net_connections("tcp"))
        ]
    except (psutil.Error, OSError):
        return list(_list_listeners_by_process())


def _list_listeners_by_process() -> Iterator[Listener]:
    # macOS shows the sockets of all users to root alone, and those of a process to its user.
    for process in psutil.process_iter():
        try:
            connections = process.net_connections("tcp")
        except (psutil.Error, OSError):
            continue
        for each in _keep_listening(connections):
            yield Listener(each.family, each.laddr.ip, each.laddr.port, process.pid)


def _keep_listening(connections: Iterable[Any]) -> list[Any]:
    return [each for each in connections if each.status == psutil.CONN_LISTEN and each.laddr]


def find_owner(probe: Probe, listeners: Iterable[Listener]) -> Owner | Unseen | None:
    """Return who holds a taken port, or why that cannot be seen; None if it is not taken."""
    if probe.state is not State.TAKEN:
        return None
    rivals = [each for each in listeners if _clash(probe.address, probe.port, each)]
    for rival in sorted(rivals, key=lambda each: each.pid is None):
        if rival.pid is not None:
            return describe_process(rival.pid)
    return Unseen(_explain_unseen(seen=bool(rivals)))


def _clash(address: Address, port: int, listener: Listener) -> bool:
    if listener.port != port:
        return False
    if address.is_wildcard or listener.host in WILDCARDS:
        # A dual-stack [::] also holds the port for IPv4; an IPv4 socket never does for IPv6.
        return listener.family == address.family or listener.host == "::"
    return listener.host.removeprefix("::ffff:") == address.host.removeprefix("::ffff:")


def describe_process(pid: int) -> Owner | Unseen:
    """Return what may be told of a process."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            since = process.create_time()
            return Owner(pid, _command(process), _user(process), since)
    except psutil.NoSuchProcess:
        return Unseen(f"pid {pid}, which has ended meanwhile")
    except (psutil.Error, OSError):
        return Unseen(f"pid {pid}, of which nothing more can be seen")


def is_running(pid: int, create_time: float) -> bool:
    """Tell whether a process that wrote down its pid and creation time still lives."""
    try:
        # Rounding apart: the kernel counts in ticks, and a pid does not return so soon.
        return abs(psutil.Process(pid).create_time() - create_time) < 1
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False


def _command(process: psutil.Process) -> str:
    try:
        return command_line.describe([part for part in process.cmdline() if part])
    except psutil.AccessDenied:
        return command_line.describe([process.name()])


def _user(process: psutil.Process) -> str:
    try:
        name = process.username()
    except (KeyError, psutil.AccessDenied):
        return "unknown"
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _explain_unseen(*, seen: bool) -> str:
    if seen and os.geteuid() != 0:
        return "another user's process; run as root to see it"
    if seen:
        return (
            "no process visible from here: it is in another PID namespace (a container on the"
            " host's network, or we are in one), or it is the kernel"
        )
    return "a process that has bound the port without listening, or has just left"
