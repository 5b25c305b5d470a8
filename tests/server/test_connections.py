"""Connections over real sockets: how many, for how long, and what children have of them."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psutil
import pytest

from metrics_commands.server import connections, door, handlers, lobby
from metrics_commands.server.server import serve
from metrics_commands.server.shutdown import Shutdown
from tests.processes import (
    TIMEOUT,
    Started,
    clean_environment,
    fetch,
    started,
    wait_until,
)
from tests.server.certificates import SERVER, make_client, write_configuration
from tests.server.serving import (
    PLAIN,
    Gate,
    Server,
    make_plain_page,
    make_service,
    make_telemetry,
    read_all,
    running,
)

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
ENDLESS = REQUEST[:-2] + b"X: " + b"x" * 1000
MANY = 200
SOON = 0.3
# On a busy machine; the deadline that is not meant is far beyond.
LATE = 5.0


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the door trust files as soon as they are written, and not make its context twice."""
    monkeypatch.setattr(door, "TICK_SECONDS", 0.0)


def ask(connection: http.client.HTTPConnection) -> bytes:
    """Ask over a connection that may be in use already."""
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


def is_closed(connection: http.client.HTTPConnection) -> bool:
    """Tell whether the server has closed a connection that has no answer to read."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def open_many(server: Server, stack: ExitStack, count: int) -> list[http.client.HTTPConnection]:
    """Return connections that have each been used once, one after the other."""
    opened = []
    for _ in range(count):
        connection = stack.enter_context(closing(server.open()))
        assert ask(connection) == PLAIN
        opened.append(connection)
    return opened


def test_the_one_that_has_idled_longest_makes_room() -> None:
    """However many connect, the newest is served; who was served lately stays connected."""
    with running(most_connections=8) as server, ExitStack() as stack:
        opened = open_many(server, stack, 8)
        assert ask(opened[0]) == PLAIN
        open_many(server, stack, 2)
        assert [is_closed(each) for each in opened] == [False, True, True, *[False] * 5]
        assert len(server.service.connections) == 8
        assert all(ask(each) == PLAIN for each in (opened[0], *opened[3:]))


def test_silent_clients_make_room_as_well() -> None:
    """Those that never send anything cannot keep others out."""
    with running(most_connections=8) as server, ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(20)]
        wait_until(lambda: len(server.service.connections) == 8)
        assert fetch(f"{server.url}/metrics")[2] == PLAIN
        assert all(read_all(each) == b"" for each in silent[:12])


def test_one_that_is_being_answered_stays() -> None:
    """A scrape that takes its time is not cut off by those who come meanwhile."""
    gate = Gate()
    with running(gate, most_connections=8) as server, ExitStack() as stack:
        scrape = stack.enter_context(server.send_scrape())
        gate.wait_until_entered()
        silent = [stack.enter_context(server.connect()) for _ in range(20)]
        assert all(read_all(each) == b"" for each in silent[:13])
        gate.opened.set()
        assert read_all(scrape).endswith(PLAIN)


def make_hello() -> bytes:
    """Return what a TLS client sends first."""
    sent = ssl.MemoryBIO()
    client = make_client().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def drip(client: socket.socket, content: bytes) -> bytes:
    """Send one byte after the other, until all is sent or an answer comes; return the answer."""
    client.settimeout(0.02)
    for number in content:
        try:
            client.sendall(bytes([number]))
            return client.recv(1000)
        except TimeoutError:
            continue
        except ConnectionError:
            return b""
    raise AssertionError("it was never closed")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    "act",
    [
        lambda client, _: read_all(client),
        drip,
        lambda client, greeting: (client.sendall(greeting[:100]), read_all(client))[1],
    ],
    ids=["silent", "dripping", "half a greeting"],
)
def test_a_client_without_a_request_is_closed_at_the_first_deadline(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[socket.socket, bytes], bytes],
    tls: bool,
) -> None:
    """Slow clients are thrown out when it is promised, a TLS handshake included."""
    monkeypatch.setattr(lobby, "FIRST_REQUEST_SECONDS", SOON)
    path = write_configuration(tmp_path, SERVER) if tls else None
    greeting = make_hello() if tls else ENDLESS
    with running(web_config_file=path) as server:
        start = time.monotonic()
        with server.connect() as client:
            assert act(client, greeting) == b""
            assert SOON <= time.monotonic() - start < LATE
        wait_until(lambda: not server.service.connections)


def test_a_used_connection_may_idle_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus keeps its connection from minute to minute, beyond the first deadline."""
    monkeypatch.setattr(lobby, "FIRST_REQUEST_SECONDS", SOON)
    with running() as server, ExitStack() as stack:
        (used,) = open_many(server, stack, 1)
        with server.connect() as silent:
            assert read_all(silent) == b""
        assert ask(used) == PLAIN


def test_a_used_connection_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither idling nor a second request that drips keeps a connection for ever."""
    monkeypatch.setattr(handlers, "IDLE_SECONDS", SOON)
    with running() as server, ExitStack() as stack:
        idle, dripping = open_many(server, stack, 2)
        assert drip(dripping.sock, ENDLESS) == b""
        assert read_all(idle.sock) == b""
        wait_until(lambda: not server.service.connections)


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A length without its bytes ends the connection."""
    monkeypatch.setattr(connections, "BODY_SECONDS", SOON)
    with running() as server:
        request = REQUEST.replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\n123")
        assert server.exchange(request) == b""


@contextmanager
def running_with_small_buffers(gather: Callable[[], bytes]) -> Iterator[Server]:
    """Serve where the kernel keeps little of what a client does not read."""
    shutdown, service = Shutdown(), make_service(make_telemetry(gather))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listener.setblocking(False)
        thread = threading.Thread(target=serve, args=([listener], service, shutdown))
        server = Server(listener.getsockname(), shutdown, thread, service)
        thread.start()
        try:
            yield server
        finally:
            server.end()


def leave_unread(server: Server, stack: ExitStack, line: bytes) -> socket.socket:
    """Ask for more small answers at once than the buffers hold, and read none of them."""
    before = len(server.service.connections)
    client = stack.enter_context(server.connect(receive_buffer=4096))
    wait_until(lambda: len(server.service.connections) > before)
    client.sendall((line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n") * MANY)
    return client


@pytest.mark.parametrize("line", [b"HEAD /metrics", b"GET /-/healthy", b"POST /"])
def test_small_answers_that_nobody_reads_are_given_up(
    monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    """Many requests at once, whose answers are left unread, keep a connection no longer."""
    monkeypatch.setattr(handlers, "WRITE_SECONDS", SOON)
    with running_with_small_buffers(make_plain_page) as server, ExitStack() as stack:
        client = leave_unread(server, stack, line)
        wait_until(lambda: not server.service.connections)
        assert read_all(client).count(b"HTTP/1.1 ") < MANY
        assert fetch(f"{server.url}/metrics")[2] == PLAIN


def test_the_deadline_of_an_answer_does_not_meet_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who has read late, but in time, gets the page that it asks for afterwards whole."""
    monkeypatch.setattr(handlers, "WRITE_SECONDS", SOON)
    page = b"x" * 100_000
    with running_with_small_buffers(lambda: page) as server, ExitStack() as stack:
        client = leave_unread(server, stack, b"GET /-/healthy")
        received = b""
        while received.count(b"is Healthy.") < MANY:
            received += client.recv(65536)
        client.sendall(REQUEST)
        assert client.recv(12) == b"HTTP/1.1 200"
        # Its own deadline is over when that of one who came later is.
        leave_unread(server, stack, b"GET /-/healthy")
        wait_until(lambda: len(server.service.connections) == 1)
        with client.makefile("rb") as answer:
            http.client.parse_headers(answer)
            assert answer.read(len(page)) == page


PROGRAM = """
import logging, os, resource, socket, subprocess, sys, threading
from metrics_commands.server.server import serve
from metrics_commands.server.shutdown import Shutdown
from tests.processes import wait_until
from tests.server.serving import make_service, make_telemetry

gate = os.open(sys.argv[2], os.O_RDWR)
taken = []

def take():
    wait_until(lambda: not service.connections)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    try:
        while True:
            taken.append(os.dup(gate))
    except OSError:
        print("taken", flush=True)
    os.read(gate, 1)
    for each in taken:
        os.close(each)

def take_descriptors():
    if not taken:
        threading.Thread(target=take, daemon=True).start()
    return b"up 1\\n"

def have_children():
    # As careless as an app's code may be.
    subprocess.Popen(["sleep", "60"], close_fds=False)
    if os.fork() == 0:
        threading.Event().wait()
    return b"up 1\\n"

logging.basicConfig(stream=sys.stdout)
with Shutdown() as shutdown:
    shutdown.begin()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    print("port", listener.getsockname()[1], flush=True)
    service = make_service(make_telemetry(globals()[sys.argv[1]]))
    serve([listener], service, shutdown)
"""


class Child:
    """A server in a process of its own, whose scrapes do as named; a fifo makes it go on."""

    def __init__(self, process: Started, gate: Path) -> None:
        self.process = process
        self.gate = gate
        self.port = int(process.wait_for(r"port (\d+)\n")[1])

    def send_scrape(self) -> socket.socket:
        """Ask for the metrics, and do not wait for them."""
        client = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        client.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return client


@contextmanager
def child(home: Path, gather: str) -> Iterator[Child]:
    """Start a server."""
    gate = home / "gate"
    os.mkfifo(gate)
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, gather, str(gate)]
    with started(command, clean_environment(home)) as process:
        yield Child(process, gate)


def test_without_descriptors_it_waits_and_then_serves_on(tmp_path: Path) -> None:
    """An exporter that cannot accept costs no processor, says so once, and answers afterwards."""
    with child(tmp_path, "take_descriptors") as server:
        with server.send_scrape() as last:
            assert read_all(last).endswith(PLAIN)
        server.process.wait_for("taken")
        with server.send_scrape() as waiting:
            waiting.settimeout(1.0)
            usage = psutil.Process(server.process.pid)
            before = sum(usage.cpu_times()[:2])
            with pytest.raises(TimeoutError):
                waiting.recv(1)
            assert sum(usage.cpu_times()[:2]) - before < 0.3
            server.gate.write_text("go")
            waiting.settimeout(TIMEOUT)
            assert read_all(waiting).endswith(PLAIN)
        assert server.process.output.count("No descriptors are left") == 1


def test_no_child_keeps_a_socket(tmp_path: Path) -> None:
    """What an app forks or starts holds neither a client nor the port of the next exporter."""
    with child(tmp_path, "have_children") as server:
        with server.send_scrape() as client:
            assert read_all(client).endswith(PLAIN)
        children = psutil.Process(server.process.pid).children()
        assert len(children) == 2
        server.process.popen.send_signal(signal.SIGTERM)
        assert server.process.popen.wait(TIMEOUT) == 0
        for each in children:
            assert each.status() != psutil.STATUS_ZOMBIE
            assert each.net_connections() == []
        socket.create_server(("127.0.0.1", server.port)).close()
