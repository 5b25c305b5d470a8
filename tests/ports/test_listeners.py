"""Which of all sockets is in the way, and which process it really belongs to."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from metrics_commands.ports.listeners import (
    Listener,
    find_first_holder,
    find_rival,
    list_listeners,
)
from metrics_commands.ports.owner import Unseen
from metrics_commands.ports.probe import Probe, State, look
from metrics_commands.ports.report import add_owners
from metrics_commands.ports.unseen import NOT_LISTENING

from .sockets import address, bound, listening, needs_ipv6, server


@pytest.mark.parametrize(
    ("host", "dual_stack", "seen"),
    [
        ("127.0.0.1", False, "127.0.0.1"),
        ("0.0.0.0", False, "0.0.0.0"),
        pytest.param("::1", False, "::1", marks=needs_ipv6),
        pytest.param("::ffff:127.0.0.1", True, "127.0.0.1", marks=needs_ipv6),
    ],
)
def test_a_listening_socket_is_listed_with_its_process(
    host: str, dual_stack: bool, seen: str
) -> None:
    """Address and process of a listener are known as the system has them."""
    with listening(host, dual_stack=dual_stack) as port:
        [found] = [each for each in list_listeners() if each.port == port]
    assert (found.host, found.pid) == (seen, os.getpid())
    assert found.family == address(seen).family
    assert found.mapped == (host != seen)


def taken(host: str) -> Probe:
    """Return what a look at a taken port finds."""
    return Probe(address(host), 8001, State.TAKEN)


def listener(host: str, pid: int | None = 1) -> Listener:
    """Return a listener of some process on the same port."""
    return Listener(address(host).family, host, 8001, pid)


@pytest.mark.parametrize(
    ("wanted", "hosts", "rival"),
    [
        ("127.0.0.1", ["::", "0.0.0.0"], "0.0.0.0"),
        ("127.0.0.1", ["0.0.0.0", "127.0.0.1"], "127.0.0.1"),
        ("0.0.0.0", ["10.0.0.5", "0.0.0.0"], "0.0.0.0"),
        ("127.0.0.1", ["127.0.0.2", "::1"], None),
        ("::1", ["0.0.0.0"], None),
        ("::", ["127.0.0.1", "::1"], "::1"),
        ("fe80::1%eth0", ["fe80::1"], "fe80::1"),
    ],
)
def test_the_nearest_of_several_listeners_is_the_rival(
    wanted: str, hosts: list[str], rival: str | None
) -> None:
    """Nobody is blamed who would not be in the way, and whoever is nearest comes first."""
    found = find_rival(taken(wanted), [listener(each) for each in hosts])
    assert (found and found.host) == rival


def test_a_rival_with_a_name_comes_before_one_without() -> None:
    """Of two that are in the way, the one that can be told is told."""
    listeners = [listener("127.0.0.2", None), listener("127.0.0.3", 7)]
    assert find_rival(taken("0.0.0.0"), listeners) == listeners[1]


@needs_ipv6
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere 127/8 is not local")
def test_a_listener_for_ipv6_alone_is_not_blamed_for_ipv4() -> None:
    """Where an IPv4 port is only reserved, a stranger's IPv6 socket of that number is no owner."""
    with listening("::") as port, bound("127.0.0.1", port):
        [report] = add_owners(look([address("127.0.0.1")], [port]))
    assert report.listener is None
    assert report.owner == Unseen(NOT_LISTENING)


def test_a_forked_socket_belongs_to_the_first_process(tmp_path: Path) -> None:
    """A worker's pid leads to its master, and no further: not to what started that."""
    with server(tmp_path, "--fork") as (process, port):
        [worker] = psutil.Process(process.pid).children()
        [own] = [each for each in list_listeners() if each.port == port]
        mine = [each for each in psutil.Process(worker.pid).net_connections() if each.laddr]
        seen_at_worker = Listener(own.family, own.host, port, worker.pid, mine[0].fd)
        assert find_first_holder(seen_at_worker, worker.pid) == process.pid
        without_descriptor = Listener(own.family, own.host, port, worker.pid)
        assert find_first_holder(without_descriptor, worker.pid) == process.pid


def test_the_system_is_asked_once_for_all_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty taken ports on a machine with thousands of sockets cost one look at those."""
    asked = []
    ask = psutil.net_connections

    def count(kind: str) -> list[object]:
        asked.append(kind)
        return list(ask(kind))

    monkeypatch.setattr(psutil, "net_connections", count)
    with ExitStack() as opened:
        ports = [opened.enter_context(listening("127.0.0.1")) for _ in range(20)]
        reports = add_owners(look([address("127.0.0.1")], ports))
    assert all(each.listener and each.listener.pid == os.getpid() for each in reports)
    assert asked == ["tcp"]


def test_free_ports_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all ports are free, no process is looked at."""
    monkeypatch.delattr(psutil, "net_connections")
    [report] = add_owners([Probe(address("127.0.0.1"), 8001, State.FREE)])
    assert report.owner is None


def test_sockets_that_only_connect_are_not_listed() -> None:
    """An outgoing connection is no listener."""
    with (
        listening("127.0.0.1") as port,
        socket.create_connection(("127.0.0.1", port)) as client,
    ):
        own = client.getsockname()[1]
        assert own not in {each.port for each in list_listeners()}
