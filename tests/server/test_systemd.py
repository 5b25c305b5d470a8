"""What systemd is told, received on real datagram sockets."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from metrics_commands.server import systemd
from tests.processes import TIMEOUT

needs_abstract = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has abstract addresses"
)


@pytest.fixture(autouse=True)
def _without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a systemd that runs the tests out of them."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["path", pytest.param("abstract", marks=needs_abstract)])
def receiver(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Listen where NOTIFY_SOCKET says, as systemd does."""
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        name = f"@{name}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(TIMEOUT)
        listener.bind(name.replace("@", "\0", 1))
        yield listener


def test_lines_arrive_in_one_message(receiver: socket.socket) -> None:
    """Readiness comes together with what the state is."""
    systemd.notify(systemd.READY, systemd.status("Serving 2 ports."))
    systemd.notify(systemd.ALIVE)
    systemd.notify(systemd.STOPPING)
    received = [receiver.recv(4096) for _ in range(3)]
    assert received == [b"READY=1\nSTATUS=Serving 2 ports.", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_reload_says_when_it_began(receiver: socket.socket) -> None:
    """With Type=notify-reload systemd accepts only a time after its own signal."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.notify(systemd.reloading())
    first, second = receiver.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_a_status_says_nothing_else(receiver: socket.socket) -> None:
    """No text, whatever it contains, becomes a message of its own."""
    systemd.notify(systemd.status("Größe\nMAINPID=1\r\n\u2028READY=1 \ud800"))
    assert receiver.recv(4096).decode() == "STATUS=Größe MAINPID=1 READY=1 ?"


@pytest.mark.parametrize("name", [None, "", "missing", "@", "@missing", "file", "x" * 300, "/"])
def test_where_nobody_listens_nothing_happens(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter runs the same without systemd, and with one that is gone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    systemd.notify(systemd.READY)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_systemd_that_does_not_read_does_not_hold_up_the_exporter(receiver: socket.socket) -> None:
    """A full queue costs a message and a moment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler, suppress(BlockingIOError):
        filler.setblocking(False)
        while True:
            filler.sendto(b"full", receiver.getsockname())
    sender = threading.Thread(target=systemd.notify, args=(systemd.READY,), daemon=True)
    sender.start()
    sender.join(TIMEOUT)
    assert not sender.is_alive()
    assert receiver.recv(4096) == b"full"


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        (None, None, None),
        ("30000000", None, 30.0),
        ("30000000", "own", 30.0),
        ("1500000", "own", 1.5),
        ("30000000", "1", None),
        ("30000000", "", None),
        ("0", "own", None),
        ("-1", "own", None),
        ("", "own", None),
        ("soon", "own", None),
        ("9" * 1000, "own", None),
        ("9" * 10_000, "own", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_watchdog_is_for_the_process_it_names(
    microseconds: str | None,
    pid: str | None,
    seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the process that systemd watches keeps its watchdog quiet; nonsense is no watchdog."""
    if microseconds is not None:
        monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert systemd.watchdog_seconds() == seconds
