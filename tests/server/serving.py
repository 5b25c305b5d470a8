"""A real server in a thread, on a port of the kernel's, for the tests of this room."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from metrics_commands.server.handlers import Telemetry
from metrics_commands.server.server import serve
from metrics_commands.server.shutdown import Shutdown
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

    def send_scrape(self, receive_buffer: int | None = None) -> socket.socket:
        """Ask for the metrics, and do not wait for them."""
        client = self.connect(receive_buffer)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
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


@contextmanager
def running(
    gather: Callable[[], bytes] = make_plain_page,
    telemetry_path: str = "/metrics",
    shutdown: Shutdown | None = None,
) -> Iterator[Server]:
    """Serve until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setblocking(False)
    shutdown = shutdown or Shutdown()
    telemetry = Telemetry(telemetry_path, CONTENT_TYPE, gather)
    thread = threading.Thread(target=serve, args=([listener], telemetry, shutdown))
    server = Server(listener.getsockname(), shutdown, thread)
    thread.start()
    try:
        yield server
    finally:
        server.end()
        listener.close()
