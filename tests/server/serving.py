"""A real server in a thread, on a port of the kernel's, for the tests of this room."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metrics_commands.server.activity import Activity
from metrics_commands.server.connections import MOST_CONNECTIONS, Connections
from metrics_commands.server.door import Door
from metrics_commands.server.gate import Gate as RequestGate
from metrics_commands.server.handlers import MOST_REQUESTS, Service
from metrics_commands.server.hosts import Hosts
from metrics_commands.server.server import serve
from metrics_commands.server.shutdown import Shutdown
from metrics_commands.server.telemetry import Page, Question, Telemetry
from tests.processes import TIMEOUT, wait_until

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = b"up 1\n"


def make_plain_page() -> bytes:
    """Gather a page of one sample."""
    return PLAIN


@dataclass
class Server:
    """A server that runs in a thread."""

    address: tuple[str, int]
    shutdown: Shutdown
    thread: threading.Thread
    service: Service

    @property
    def url(self) -> str:
        """Return its URL, without a path."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """Return a raw connection."""
        client = socket.socket()
        client.settimeout(TIMEOUT)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(self.address)
        return client

    def open(self) -> http.client.HTTPConnection:
        """Return a connection that is kept alive between requests."""
        return http.client.HTTPConnection(*self.address, timeout=TIMEOUT)

    def send_scrape(self, receive_buffer: int | None = None, query: str = "") -> socket.socket:
        """Ask for the metrics, and do not wait for them."""
        client = self.connect(receive_buffer)
        request = f"GET /metrics{query} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode())
        return client

    def exchange(self, request: bytes) -> bytes:
        """Send raw bytes; return all that comes until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return read_all(client)

    def end(self) -> float:
        """Ask the server to end; return how many seconds it took."""
        start = time.monotonic()
        self.shutdown.request()
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        return time.monotonic() - start


@dataclass
class Gate:
    """A gather that takes as long as the test wants."""

    opened: threading.Event = field(default_factory=threading.Event)
    entered: list[None] = field(default_factory=list)

    def __call__(self) -> bytes:
        """Make a page once the gate is open."""
        self.entered.append(None)
        assert self.opened.wait(TIMEOUT)
        return PLAIN

    def wait_until_entered(self, times: int = 1) -> None:
        """Wait until so many scrapes are being gathered."""
        wait_until(lambda: len(self.entered) >= times)


def read_all(client: socket.socket) -> bytes:
    """Return all bytes until the other side closes, whichever way."""
    received = []
    try:
        while part := client.recv(65536):
            received.append(part)
    except ConnectionResetError:
        pass
    return b"".join(received)


def make_telemetry(gather: Callable[[], bytes], path: str = "/metrics") -> Telemetry:
    """Return a page that is the same for every question."""

    def make(question: Question) -> Page:
        return Page(gather(), CONTENT_TYPE)

    return Telemetry(path, make, lambda question: CONTENT_TYPE)


def make_service(
    telemetry: Telemetry,
    door: Door | None = None,
    *,
    names: Sequence[str] = (),
    open_paths: Sequence[str] = (),
    most_connections: int = MOST_CONNECTIONS,
    most_requests: int = MOST_REQUESTS,
    access_log: bool = False,
) -> Service:
    """Return what a server shares, as ``runmetrics`` puts it together."""
    gate = RequestGate(door or Door(None), Hosts(names), telemetry.path, open_paths)
    connections = Connections(most_connections)
    return Service(telemetry, gate, Activity(), connections, most_requests, access_log)


@contextmanager
def running(
    gather: Callable[[], bytes] = make_plain_page,
    telemetry_path: str = "/metrics",
    shutdown: Shutdown | None = None,
    *,
    telemetry: Telemetry | None = None,
    web_config_file: Path | None = None,
    reload: Callable[[], None] = lambda: None,
    **options: Any,
) -> Iterator[Server]:
    """Serve until the block ends; ``options`` are those of ``make_service``."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setblocking(False)
    shutdown = shutdown or Shutdown()
    door = Door(web_config_file)
    service = make_service(telemetry or make_telemetry(gather, telemetry_path), door, **options)
    thread = threading.Thread(
        target=serve, args=([listener], service, shutdown, lambda: door.context, reload)
    )
    server = Server(listener.getsockname(), shutdown, thread, service)
    thread.start()
    try:
        yield server
    finally:
        server.end()
        listener.close()
