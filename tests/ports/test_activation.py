"""Sockets that systemd opens: taken as they are, and anything else refused in one sentence."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from metrics_commands.ports.activation import take_sockets
from tests.processes import ROOT, clean_environment, fetch, run, started

# As systemd does it: the sockets from descriptor 3 on, and the pid of the very process.
ACTIVATE = """
import os, socket, sys
kinds, program = sys.argv[1].split(","), sys.argv[2:]
kept = []
for number, kind in enumerate(kinds, 3):
    if kind == "file":
        descriptor = os.open("/dev/null", os.O_RDONLY)
    else:
        family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        kept.append(opened)
        if kind != "unix":
            opened.bind(("127.0.0.1", 0))
            print("systemd listens on", opened.getsockname()[1], flush=True)
        if kind == "listening":
            opened.listen()
        descriptor = opened.fileno()
    os.dup2(descriptor, 100 + number)
for number in range(3, 3 + len(kinds)):
    os.dup2(100 + number, number, inheritable=True)
if "LISTEN_PID" not in os.environ:
    os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(kinds))
os.execv(program[0], program)
"""


def activated(kinds: str, *options: str) -> Sequence[str | Path]:
    """Return the command that starts runmetrics with sockets of these kinds."""
    manage = [sys.executable, str(ROOT / "manage.py"), "runmetrics", *options]
    return [sys.executable, "-c", ACTIVATE, kinds, *manage]


@pytest.mark.parametrize("kinds", ["listening", "bound,listening"])
def test_given_sockets_serve_and_nothing_is_probed(tmp_path: Path, kinds: str) -> None:
    """The exporter serves on all that systemd opened, whatever the settings say."""
    # The port of the options is one that nobody could have.
    with started(activated(kinds, "--port", "1"), clean_environment(tmp_path)) as process:
        process.wait_for("Serving")
        ports = re.findall(r"systemd listens on (\d+)", process.output)
        assert len(ports) == kinds.count(",") + 1
        for port in ports:
            assert fetch(f"http://127.0.0.1:{port}/-/healthy")[0] == 200
            assert f"http://127.0.0.1:{port}/metrics" in process.output
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [("file", "is no socket"), ("udp", "is no TCP socket"), ("listening,unix", "is no TCP socket")],
)
def test_what_cannot_be_served_is_one_sentence(tmp_path: Path, kinds: str, reason: str) -> None:
    """A unit that gives the wrong kind of descriptor gets exit code 2 and the line to write."""
    done = run(activated(kinds), clean_environment(tmp_path))
    assert done.returncode == 2
    assert reason in done.stderr
    assert "ListenStream=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())},
    ],
)
def test_variables_that_are_not_for_us_are_left_alone(variables: dict[str, str]) -> None:
    """What a parent of another pid was given, and nonsense, opens nothing."""
    assert take_sockets(variables) is None


def test_no_child_takes_the_sockets_for_its_own(tmp_path: Path) -> None:
    """The variables are gone once the sockets are taken."""
    variables = {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "web"}
    take_sockets(variables)
    assert variables == {}


def test_the_port_of_a_shell_is_not_taken_over(tmp_path: Path) -> None:
    """Where LISTEN_PID names another process, as behind a shell, the settings decide."""
    environment = clean_environment(tmp_path, LISTEN_PID="1")
    with started(activated("listening", "--port", "0"), environment) as process:
        url = process.wait_for(r"Serving (http://\S+)")[1]
        given = process.wait_for(r"systemd listens on (\d+)")[1]
        assert f":{given}/" not in url
        with socket.create_connection(("127.0.0.1", int(given))):
            pass
