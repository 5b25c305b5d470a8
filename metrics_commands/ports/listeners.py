"""List the sockets that listen on this machine, and find the one that is in a port's way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import psutil

from .address import Address
from .probe import Probe, State, look

WILDCARDS = {"0.0.0.0", "::", "*", ""}
MAPPED = "::ffff:"
# Linux has all of 127/8; who is bound to one address of it leaves this one free.
SPARE = Address(socket.AF_INET, "127.8.4.2")


@dataclass(frozen=True)
class Listener:
    """A listening socket: ``pid`` is None where the kernel hides it from us.

    ``descriptor`` is the process's own number of it. ``mapped`` tells that an IPv6 socket has an
    IPv4 address, as Java listens: ``host`` and ``family`` are those of IPv4 then.
    """

    family: socket.AddressFamily
    host: str
    port: int
    pid: int | None
    descriptor: int = -1
    mapped: bool = False

    @property
    def is_wildcard(self) -> bool:
        """Tell whether it listens on all addresses of its family."""
        return self.host in WILDCARDS


def list_listeners() -> list[Listener]:
    """Return all listening TCP sockets that can be seen."""
    try:
        return [
            _make_listener(each, each.pid)
            for each in _keep_listening(psutil.net_connections("tcp"))
        ]
    except (psutil.Error, OSError, IndexError, RuntimeError):
        return list(_list_listeners_by_process())


def find_rival(probe: Probe, listeners: Iterable[Listener]) -> Listener | None:
    """Return the listener that holds a taken port; None if it is not taken or none is seen."""
    if probe.state is not State.TAKEN:
        return None
    rivals = [each for each in listeners if _clash(probe.address, probe.port, each)]
    # Where [::] is held for IPv6 alone, another process may hold the same port for IPv4.
    rivals.sort(
        key=lambda each: (
            each.family != probe.address.family,
            each.pid is None,
            each.host != _host(probe.address),
        )
    )
    if rivals and rivals[0].family != probe.address.family and _is_free_for_ipv4(probe.port):
        return None
    return rivals[0] if rivals else None


def find_first_holder(listener: Listener, pid: int) -> int:
    """Return the process that gave the socket to its forks: a server's master, not a worker."""
    holder = replace(listener, pid=pid)
    try:
        for parent in psutil.Process(pid).parents():
            if not _is_held_by(parent, holder):
                break
            pid = parent.pid
    except (psutil.Error, OSError):
        pass
    return pid


def _is_held_by(process: psutil.Process, listener: Listener) -> bool:
    try:
        held = os.readlink(f"/proc/{listener.pid}/fd/{listener.descriptor}")
    except OSError:
        # No /proc, as on macOS, where a process's own list costs little.
        address = (listener.family, listener.host, listener.port)
        return any(
            (each.family, each.host, each.port) == address for each in _list_listeners_of(process)
        )
    # Not through psutil, which would read all sockets of the machine for each process.
    folder = f"/proc/{process.pid}/fd"
    return any(_read_link(f"{folder}/{each}") == held for each in os.listdir(folder))


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


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
    ipv4 = host.removeprefix(MAPPED)
    if ipv4 != host and "." in ipv4:
        return Listener(socket.AF_INET, ipv4, port, pid, connection.fd, mapped=True)
    return Listener(connection.family, host, port, pid, connection.fd)


def _clash(address: Address, port: int, listener: Listener) -> bool:
    if listener.port != port:
        return False
    if address.is_wildcard or listener.is_wildcard:
        # A dual-stack [::] also holds the port for IPv4; an IPv4 socket never does for IPv6.
        return listener.family == address.family or listener.host == "::"
    return listener.host == _host(address)


def _is_free_for_ipv4(port: int) -> bool:
    """Tell whether a listening [::] is for IPv6 alone, which no list of sockets says."""
    return look([SPARE], [port])[0].state is State.FREE


def _host(address: Address) -> str:
    # The interface of a link-local address is not listed.
    return address.host.partition("%")[0]
