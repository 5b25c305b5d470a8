"""Find who holds a port, as far as the kernel lets us see."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
            _make_listener(each, each.pid)
            for each in _keep_listening(psutil.net_connections("tcp"))
        ]
    except (psutil.Error, OSError, IndexError):
        return list(_list_listeners_by_process())


def _list_listeners_by_process() -> Iterator[Listener]:
    # macOS shows the sockets of all users to root alone, and those of a process to its user.
    for process in psutil.process_iter():
        try:
            yield from _list_listeners_of(process)
        except (psutil.Error, OSError):
            continue


def _list_listeners_of(process: psutil.Process) -> list[Listener]:
    connections = _keep_listening(process.net_connections("tcp"))
    return [_make_listener(each, process.pid) for each in connections]


def _keep_listening(connections: Iterable[Any]) -> list[Any]:
    return [each for each in connections if each.status == psutil.CONN_LISTEN and each.laddr]


def _make_listener(connection: Any, pid: int | None) -> Listener:
    host, port = connection.laddr
    ipv4 = host.removeprefix("::ffff:")
    if ipv4 != host and "." in ipv4:
        # As Java listens: an IPv6 socket whose address, and so whose port, is one of IPv4.
        return Listener(socket.AF_INET, ipv4, port, pid)
    return Listener(connection.family, host, port, pid)


def find_owner(probe: Probe, listeners: Iterable[Listener]) -> Owner | Unseen | None:
    """Return who holds a taken port, or why that cannot be seen; None if it is not taken."""
    if probe.state is not State.TAKEN:
        return None
    rivals = [each for each in listeners if _clash(probe.address, probe.port, each)]
    # Where [::] is held for IPv6 alone, another process may hold the same port for IPv4.
    rivals.sort(key=lambda each: (each.family != probe.address.family, each.pid is None))
    if rivals and rivals[0].pid is not None:
        return describe_process(_find_first_holder(rivals[0], rivals[0].pid))
    return Unseen(_explain_unseen(seen=bool(rivals)))


def _clash(address: Address, port: int, listener: Listener) -> bool:
    if listener.port != port:
        return False
    if address.is_wildcard or listener.host in WILDCARDS:
        # A dual-stack [::] also holds the port for IPv4; an IPv4 socket never does for IPv6.
        return listener.family == address.family or listener.host == "::"
    return listener.host == address.host


def _find_first_holder(listener: Listener, pid: int) -> int:
    """Return the process that gave the socket to its forks: a server's master, not a worker."""
    try:
        for parent in psutil.Process(pid).parents():
            if replace(listener, pid=parent.pid) not in _list_listeners_of(parent):
                break
            pid = parent.pid
    except (psutil.Error, OSError):
        pass
    return pid


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


def _command(process: psutil.Process) -> str:
    try:
        return command_line.describe(process.cmdline())
    except psutil.AccessDenied:
        return command_line.describe([process.name()])


def _user(process: psutil.Process) -> str:
    try:
        name = process.username()
    except (KeyError, psutil.AccessDenied):
        return "unknown"
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _explain_unseen(*, seen: bool) -> str:
    # Elsewhere than on Linux, other users' sockets are not even listed.
    if os.geteuid() != 0 and (seen or not sys.platform.startswith("linux")):
        return "another user's process; run as root to see it"
    if seen:
        return (
            "no process visible from here: it is in another PID namespace (a container on the"
            " host's network, or we are in one), or it is the kernel"
        )
    return "a process that has bound the port without listening, connects from it or has just left"
