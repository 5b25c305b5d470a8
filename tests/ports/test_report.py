"""The lines that people read about ports, and the advice that follows."""

from __future__ import annotations

import os
import socket

import pytest

from metrics_commands.ports.address import Address
from metrics_commands.ports.owner import Unseen
from metrics_commands.ports.probe import Probe, State, look
from metrics_commands.ports.report import add_owners, advise, describe

from .sockets import address, listening

OPTIONAL_IPV6 = Address(socket.AF_INET6, "::", required=False)
STOP_ONE = "Stop that process, or choose another port with --port, or several with --port-range."
STOP_SOME = "Stop one of those processes, or choose other ports with --port-range."
OTHER_PORT = "Choose another port with --port, or several with --port-range."
OTHER_ADDRESS = "Choose an address of this machine with --address, such as 127.0.0.1."
UNPRIVILEGED = "Choose a port from 1024 up with --port."


def probe(state: State, port: int = 8001, where: Address | None = None) -> Probe:
    """Return what a look could have found."""
    return Probe(where or address("127.0.0.1"), port, state)


def test_each_port_is_one_line_with_its_owner() -> None:
    """Free, taken and impossible ports each have a line, the taken one with its owner."""
    with listening("127.0.0.1") as port:
        found = look([address("127.0.0.1"), address("192.0.2.1")], [port, 0])
        lines = [describe(each) for each in add_owners(found)]
    assert lines[0].startswith(f"127.0.0.1:{port} is taken by pid {os.getpid()}, ")
    assert lines[1:] == [
        f"192.0.2.1:{port}: 192.0.2.1 is not an address of this machine",
        "127.0.0.1:0: the kernel will choose a free port",
        "192.0.2.1:0: 192.0.2.1 is not an address of this machine",
    ]
    assert all(each.isprintable() for each in lines)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State.FREE, "[::]:8001 is free"),
        (State.TAKEN, "[::]:8001 is taken by somebody"),
        (State.NO_FAMILY, "[::]:8001: this system has no IPv6"),
    ],
)
def test_a_line_says_what_is_with_the_port(state: State, line: str) -> None:
    """A line reads as a sentence, whatever was found."""
    owner = Unseen("somebody") if state is State.TAKEN else None
    assert describe((probe(state, where=OPTIONAL_IPV6), owner)) == line


@pytest.mark.parametrize(
    ("probes", "advice"),
    [
        ([probe(State.TAKEN)], STOP_ONE),
        ([probe(State.TAKEN), probe(State.TAKEN, 8002)], STOP_SOME),
        ([probe(State.TAKEN), probe(State.TAKEN, where=OPTIONAL_IPV6)], STOP_ONE),
        ([probe(State.TAKEN), probe(State.FREE, where=OPTIONAL_IPV6)], STOP_ONE),
        ([probe(State.TAKEN), probe(State.NO_FAMILY, where=OPTIONAL_IPV6)], STOP_ONE),
        ([probe(State.NOT_PERMITTED, 80)], UNPRIVILEGED),
        ([probe(State.NOT_PERMITTED, 8001)], OTHER_PORT),
        ([probe(State.NOT_PERMITTED, 80), probe(State.TAKEN)], STOP_SOME),
        ([probe(State.NOT_HERE), probe(State.NOT_HERE, 8002)], OTHER_ADDRESS),
        ([probe(State.NO_FAMILY, where=OPTIONAL_IPV6)], OTHER_ADDRESS),
        ([probe(State.FAILED)], OTHER_PORT),
    ],
)
def test_the_advice_fits_what_was_found(probes: list[Probe], advice: str) -> None:
    """What a user is told to do would help: no process to stop where none is in the way."""
    assert advise([(each, None) for each in probes]) == advice
