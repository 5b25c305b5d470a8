"""The end of a server, asked for by real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from metrics_commands.server.shutdown import SIGNALS, EndedEarly, Shutdown
from tests.processes import TIMEOUT, Started, clean_environment, fetch, started, wait_until
from tests.server.serving import read_all, running

PROGRAM = """
import socket, sys, threading
from metrics_commands.server.server import serve
from metrics_commands.server.shutdown import Shutdown
from tests.server.serving import make_service, make_telemetry

BODY = b"x" * 5_000_000
calls = iter(sys.argv[2:])

def gather():
    call = next(calls)
    print("gathering", call, flush=True)
    if call == "slow":
        open(sys.argv[1]).read()
    elif call == "never":
        threading.Event().wait()
    return BODY

with Shutdown() as shutdown:
    shutdown.begin()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    print("port", listener.getsockname()[1], flush=True)
    print("cut off", serve([listener], make_service(make_telemetry(gather)), shutdown))
listener.close()
print("ended", flush=True)
"""
BODY_LENGTH = 5_000_000


class Child:
    """A server in a process of its own; a fifo opens its slow scrapes."""

    def __init__(self, process: Started, gate: Path) -> None:
        self.process = process
        self.gate = gate
        self.port = int(process.wait_for(r"port (\d+)\n")[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def send_scrape(self, expected: str, receive_buffer: int | None = None) -> socket.socket:
        """Ask for the metrics and wait until they are being gathered."""
        client = socket.socket()
        client.settimeout(TIMEOUT)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.port))
        # One page each: who asks for the same shares it.
        line = f"GET /metrics?name[]={expected} HTTP/1.1"
        client.sendall(f"{line}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        self.process.wait_for(f"gathering {expected}")
        return client

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def wait_until_unready(self) -> None:
        """Wait until the readiness page says that the end has begun."""
        wait_until(lambda: fetch(f"{self.url}/-/ready")[0] == 503)


@contextmanager
def child(home: Path, *gathers: str) -> Iterator[Child]:
    """Start a server whose scrapes behave in turn as named: plain, slow or never."""
    gate = home / "gate"
    os.mkfifo(gate)
    command = [sys.executable, "-c", PROGRAM, str(gate), *gathers]
    with started(command, clean_environment(home)) as process:
        yield Child(process, gate)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_a_slow_scrape_lets_it_finish(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A deployment that restarts the exporter loses no scrape, and is told not to send another."""
    with child(tmp_path, "slow") as server, server.send_scrape("slow") as client:
        assert fetch(f"{server.url}/-/ready")[0] == 200
        server.signal(number)
        server.wait_until_unready()
        assert fetch(f"{server.url}/metrics")[0] == 503
        assert fetch(f"{server.url}/-/healthy")[0] == 200
        server.gate.write_text("go")
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert len(body) == BODY_LENGTH
        assert server.process.wait() == 0
        assert "ended" in server.process.output


def test_neither_a_stuck_scrape_nor_a_client_that_never_reads_keeps_it_alive(
    tmp_path: Path,
) -> None:
    """Others are served beside them, and the process is gone within 5 seconds of the signal."""
    with (
        child(tmp_path, "never", "unread", "plain") as server,
        server.send_scrape("never"),
        server.send_scrape("unread", receive_buffer=4096) as unread,
    ):
        assert unread.recv(12) == b"HTTP/1.1 200"
        assert len(fetch(f"{server.url}/metrics")[2]) == BODY_LENGTH
        start = time.monotonic()
        assert server.process.stop() == 0
        # Five seconds are promised; a busy machine may need some of its own.
        assert time.monotonic() - start < 10
        assert "Traceback" not in server.process.output


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """Who is impatient presses Ctrl-C twice."""
    with child(tmp_path, "never") as server, server.send_scrape("never"):
        server.signal(signal.SIGTERM)
        server.wait_until_unready()
        assert server.process.stop(number) == -number


@pytest.mark.parametrize("number", SIGNALS)
def test_handlers_are_restored(number: signal.Signals) -> None:
    """Code that runs the command in its own process gets its signals back."""
    before = [signal.getsignal(each) for each in SIGNALS]
    with Shutdown() as shutdown:
        shutdown.begin()
        assert not shutdown.requested
        os.kill(os.getpid(), number)
        wait_until(lambda: shutdown.requested)
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_the_start_interrupts_whatever_runs(number: signal.Signals) -> None:
    """An app whose modules take a minute to import does not keep the exporter from ending."""

    def start() -> None:
        with Shutdown():
            os.kill(os.getpid(), number)
            wait_until(lambda: False)

    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(EndedEarly):
        start()
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_signal_interrupts_the_wait_for_a_port() -> None:
    """An exporter that keeps trying for a port ends as quickly as one that serves."""
    with Shutdown() as shutdown:
        shutdown.begin()
        waiting = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        waiting.start()
        start = time.monotonic()
        shutdown.sleep(TIMEOUT)
        assert time.monotonic() - start < TIMEOUT / 2
        waiting.join()


def test_an_end_requested_before_serving_is_not_forgotten() -> None:
    """A signal between binding and serving ends the server as soon as it starts."""
    shutdown = Shutdown()
    shutdown.request()
    with running(shutdown=shutdown) as server:
        server.thread.join(TIMEOUT)
        assert not server.thread.is_alive()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_wakes_a_loop_whose_sleep_it_does_not_interrupt(number: signal.Signals) -> None:
    """As one does that comes right before the sleep, here for certain by another thread's hand."""
    main = psutil.Process()
    heard = []

    def interrupt_myself() -> None:
        wait_until(lambda: main.status() == psutil.STATUS_SLEEPING)
        signal.pthread_kill(threading.get_ident(), number)
        heard.append(wait_until(lambda: shutdown.requested, seconds=TIMEOUT / 3))

    with Shutdown() as shutdown:
        shutdown.begin()

        async def wait() -> bool:
            threading.Thread(target=interrupt_myself, daemon=True).start()
            return await asyncio.wait_for(shutdown.wait(), TIMEOUT)

        assert asyncio.run(wait()) is False
    assert wait_until(lambda: heard)
