"""The lines that people read about ports, and the advice that follows."""

from __future__ import annotations

import errno
import json
import os
import socket
import string
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.ports.address import Address
from metrics_commands.ports.clash import LEFT_ALONE, SPLITS, explain_clash
from metrics_commands.ports.listeners import Listener
from metrics_commands.ports.owner import Owner, Unseen
from metrics_commands.ports.probe import Probe, State, look
from metrics_commands.ports.report import Report, add_owners, advise, as_record, describe

from .sockets import address, listening, needs_ipv6, server

OPTIONAL_IPV6 = Address(socket.AF_INET6, "::", required=False)
STOP_ONE = "Stop that process, or choose another port with --port, or several with --port-range."
STOP_SOME = "Stop one of those processes, or choose other ports with --port-range."
OTHER_PORT = "Choose another port with --port, or several with --port-range."
OTHER_ADDRESS = "Choose an address of this machine with --address, such as 127.0.0.1."
UNPRIVILEGED = "Choose a port from 1024 up with --port."


LINK_LOCAL = Address(socket.AF_INET6, "fe80::1")
NGINX = Owner(7, "nginx", "www", 0.0, program="nginx", advice="Change it.")
SYSTEMD = Owner(1, "systemd", "root", 0.0, program="systemd", advice="Stop the unit.")


def probe(
    state: State, port: int = 8001, where: Address | None = None, error_number: int = 0
) -> Probe:
    """Return what a look could have found."""
    return Probe(where or address("127.0.0.1"), port, state, error_number)


def test_each_port_is_one_line_with_its_owner() -> None:
    """Free, taken and impossible ports each have a line, the taken one with its owner."""
    with listening("127.0.0.1") as port:
        found = look([address("127.0.0.1")], [port, 0]) + look([address("198.51.100.1")], [port])
        lines = [describe(each) for each in add_owners(found)]
    assert lines[0].startswith(f"127.0.0.1:{port} is taken by pid {os.getpid()}, ")
    assert lines[1:] == [
        "127.0.0.1:0: the kernel will choose a free port",
        f"198.51.100.1:{port}: 198.51.100.1 is not an address of this machine",
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
    assert describe(Report(probe(state, where=OPTIONAL_IPV6), owner)) == line


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
        ([probe(State.FAILED, 8001, LINK_LOCAL, errno.EINVAL)], OTHER_ADDRESS),
    ],
)
def test_the_advice_fits_what_was_found(probes: list[Probe], advice: str) -> None:
    """What a user is told to do would help: no process to stop where none is in the way."""
    assert advise([Report(each) for each in probes]) == advice


@pytest.mark.parametrize(
    ("owners", "advice"),
    [
        ([(8001, NGINX)], "Change it."),
        ([(8001, NGINX), (8002, NGINX)], "Change it."),
        ([(8001, NGINX), (8001, replace(NGINX, pid=8))], "Change it."),
        ([(8001, NGINX), (8001, SYSTEMD)], STOP_ONE),
        ([(8001, NGINX), (8002, SYSTEMD)], STOP_SOME),
        ([(8001, NGINX), (8002, replace(NGINX, pid=8))], STOP_SOME),
        ([(8001, NGINX), (8002, Unseen("somebody"))], STOP_SOME),
        ([(8001, replace(NGINX, advice=""))], STOP_ONE),
    ],
)
def test_where_one_owner_is_in_the_way_the_advice_is_for_it(
    owners: list[tuple[int, Owner | Unseen]], advice: str
) -> None:
    """The advice for a program is given where following it would free what is needed."""
    taken = [Report(probe(State.TAKEN, port), owner) for port, owner in owners]
    assert advise([*taken, Report(probe(State.FREE, 8003))]) == advice


AMONG = "it listens on all addresses, {} among them"


@pytest.mark.parametrize(
    ("holder", "dual_stack", "wanted", "why"),
    [
        ("127.0.0.1", False, "127.0.0.1", ""),
        ("0.0.0.0", False, "0.0.0.0", ""),
        ("0.0.0.0", False, "127.0.0.1", AMONG.format("127.0.0.1")),
        ("127.0.0.1", False, "0.0.0.0", "all addresses include 127.0.0.1, where it listens"),
        pytest.param("::1", False, "::1", "", marks=needs_ipv6),
        pytest.param("::", False, "::1", AMONG.format("::1"), marks=needs_ipv6),
        pytest.param("::", True, "::1", AMONG.format("::1"), marks=needs_ipv6),
        pytest.param("::", True, "::", "", marks=needs_ipv6),
        pytest.param(
            "::1", False, "::", "all addresses include ::1, where it listens", marks=needs_ipv6
        ),
        pytest.param(
            "::",
            True,
            "127.0.0.1",
            "it listens on [::], which is all addresses of IPv6 and of IPv4, 127.0.0.1 among them",
            marks=needs_ipv6,
        ),
        pytest.param(
            "::",
            True,
            "0.0.0.0",
            "it listens on [::], which is all addresses of IPv6 and of IPv4",
            marks=needs_ipv6,
        ),
        pytest.param(
            "::ffff:127.0.0.1",
            True,
            "127.0.0.1",
            "it listens on [::ffff:127.0.0.1], which is 127.0.0.1 written as IPv6",
            marks=needs_ipv6,
        ),
        pytest.param(
            "::ffff:127.0.0.1",
            True,
            "0.0.0.0",
            "all addresses include 127.0.0.1, where it listens",
            marks=needs_ipv6,
        ),
    ],
)
def test_why_two_addresses_clash_is_told(
    holder: str, dual_stack: bool, wanted: str, why: str
) -> None:
    """Whoever wonders how another address can be in the way reads it, and nobody else does."""
    with listening(holder, dual_stack=dual_stack) as port:
        [report] = add_owners(look([address(wanted)], [port]))
        assert report.probe.state is State.TAKEN
        assert isinstance(report.owner, Owner)
        line = describe(report)
    remark = f" ({why}{f'; {LEFT_ALONE}' * SPLITS * ('written' not in why)})" if why else ""
    assert line == f"{report.probe} is taken by {report.owner}{remark}"


@pytest.mark.parametrize(
    ("wanted", "host", "left_alone"),
    [("127.0.0.1", "0.0.0.0", True), ("0.0.0.0", "127.0.0.1", True), ("::1", "::1", False)],
)
def test_where_both_could_listen_it_says_why_the_port_is_left(
    wanted: str, host: str, left_alone: bool
) -> None:
    """On macOS and BSD, a user whose other server does bind there reads why this one does not."""
    rival = Listener(address(host).family, host, 8001, 7)
    assert explain_clash(address(wanted), rival, splits=True).endswith(LEFT_ALONE) == left_alone
    assert LEFT_ALONE not in explain_clash(address(wanted), rival, splits=False)


def test_an_exporter_is_told_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user reads whether the port is held by the own exporter, or by whose."""
    with server(tmp_path, "runmetrics", script="manage.py") as (process, port):
        [report] = add_owners(look([address("127.0.0.1")], [port]))
    assert describe(report, process.pid).endswith(" (the exporter of this metrics directory)")
    assert describe(report).endswith(f" (another project's exporter, in {tmp_path})")
    hidden = replace(report, owner=replace(owner_in(report), directory=""))
    assert describe(hidden).endswith(" (another exporter)")
    monkeypatch.chdir(tmp_path)
    assert describe(report).endswith(" (another exporter, started in this directory too)")


def owner_in(report: Report) -> Owner:
    """Return the owner, which is seen."""
    assert isinstance(report.owner, Owner)
    return report.owner


def test_a_record_has_all_that_is_known(tmp_path: Path) -> None:
    """A program that reads the JSON finds each part of the sentence by its name."""
    with server(tmp_path, program="nginx") as (process, port):
        [report] = add_owners(look([address("127.0.0.1")], [port]))
    owner = owner_in(report)
    record = json.loads(json.dumps(as_record(report, process.pid)))
    since = record["owner"].pop("since")
    assert datetime.fromisoformat(since).timestamp() == int(owner.since)
    assert record == {
        "address": "127.0.0.1",
        "port": port,
        "family": "IPv4",
        "state": "taken",
        "sentence": describe(report, process.pid),
        "owner": {
            "pid": process.pid,
            "command": owner.command,
            "program": "nginx",
            "user": owner.user,
            "parent": owner.parent,
            "unit": owner.unit,
            "container": owner.container,
            "ours": True,
        },
    }


@pytest.mark.parametrize("owner", [None, Unseen("somebody")])
def test_a_record_without_a_visible_owner_has_null(owner: Unseen | None) -> None:
    """Who is not seen is null, and the sentence says why."""
    state = State.TAKEN if owner else State.FREE
    report = Report(probe(state, where=OPTIONAL_IPV6), owner)
    assert as_record(report) == {
        "address": "::",
        "port": 8001,
        "family": "IPv6",
        "state": state.value,
        "sentence": describe(report),
        "owner": None,
    }


HOSTS = st.one_of(st.ip_addresses().map(str), st.sampled_from(["0.0.0.0", "::", "*", "fe80::1%e"]))
FAMILIES = st.sampled_from([socket.AF_INET, socket.AF_INET6])
LISTENERS = st.builds(
    Listener,
    FAMILIES,
    HOSTS,
    st.integers(1, 65535),
    st.none() | st.integers(0),
    mapped=st.booleans(),
)
ALLOWED = set(string.ascii_letters + string.digits + " .,:;[]()%*'/+_-")


@given(
    st.builds(Address, FAMILIES, HOSTS),
    st.sampled_from(State),
    st.sampled_from([None, NGINX, Unseen("somebody")]),
    st.none() | LISTENERS,
)
@settings(max_examples=100, deadline=None)
def test_any_port_has_a_line(
    where: Address, state: State, owner: Owner | Unseen | None, listener: Listener | None
) -> None:
    """Whatever the system lists, a user reads one line of plain text."""
    report = Report(Probe(where, 8001, state), owner, listener)
    assert set(describe(report)) <= ALLOWED
    assert advise([report])
