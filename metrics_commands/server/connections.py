"""Accept connections, a bounded number, and none for longer than its deadline."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from tornado.http1connection import HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from .lobby import MOST_REQUEST_BYTES, Guest, Lobby

logger = logging.getLogger("metrics_commands")

MOST_CONNECTIONS = 512
# From one answer to the end of the next request's headers; Prometheus asks once a minute.
IDLE_SECONDS = 75.0
BODY_SECONDS = 10.0
# Pages that wait for clients to read them, each counted once; who reads takes less time than this.
MOST_UNSENT_BYTES = 64 * 2**20
QUICK_SECONDS = 1.0
# At once, before other connections have their turn.
MOST_ACCEPTED = 128
PAUSE_SECONDS = 0.1
NO_MORE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_open_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


Client = IOStream | Guest


@dataclass
class Connection:
    """A client's connection; ``page`` is on its way since ``since``, of the monotonic clock."""

    stream: Client
    page: bytes = b""
    since: float = 0.0


class Connections:
    """All that are open; where there are too many, the one that has idled longest is closed."""

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        # Both in the order in which they came to be so.
        self._idle: dict[Client, Connection] = {}
        self._busy: dict[Client, Connection] = {}

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def add(self, stream: Client) -> None:
        """Keep a new connection, in the place of another where that has to be."""
        while len(self) >= self._most:
            self.close_one()
        self._idle[stream] = Connection(stream)

    def turn(self, stream: IOStream, *, busy: bool) -> None:
        """Note that a request has come, or has been answered."""
        connection = self._find(stream)
        if connection is not None:
            self.drop(stream)
            (self._busy if busy else self._idle)[stream] = connection

    def drop(self, stream: Client) -> None:
        """Forget one that has ended."""
        self._idle.pop(stream, None)
        self._busy.pop(stream, None)

    def close_one(self) -> bool:
        """Close the one that has idled longest, else the one busy longest; tell whether any."""
        for stream in chain(self._idle, self._busy):
            self._close(stream)
            return True
        return False

    def begin_page(self, stream: IOStream, page: bytes) -> None:
        """Note that a page is sent; where too many wait to be read, slow readers lose theirs."""
        connection = self._find(stream)
        if connection is None:
            return
        now = time.monotonic()
        connection.page, connection.since = page, now
        readers = [each for each in self._busy.values() if each.page]
        slow = [each for each in readers if now - each.since >= QUICK_SECONDS]
        # Scrapes at once send one page to many.
        while slow and count_bytes(readers) > MOST_UNSENT_BYTES:
            closed = slow.pop(0)
            closed.page = b""
            self._close(closed.stream)

    def end_page(self, stream: IOStream) -> None:
        """Note that a client has its page, or will not have it."""
        connection = self._find(stream)
        if connection is not None:
            connection.page = b""

    def _find(self, stream: IOStream) -> Connection | None:
        return self._idle.get(stream) or self._busy.get(stream)

    def _close(self, stream: Client) -> None:
        self.drop(stream)
        stream.close()


def count_bytes(readers: Iterable[Connection]) -> int:
    """Return the size of the pages that wait for their readers."""
    return sum({id(each.page): len(each.page) for each in readers}.values())


class Listener(HTTPServer):
    """Tornado's server with a first deadline, a bound, and an accept loop that never spins.

    ``find_context`` gives the TLS context of the moment; None for plain HTTP.
    """

    connections: Connections
    find_context: Callable[[], ssl.SSLContext | None]

    def initialize(  # type: ignore[override]
        self,
        request_callback: Any,
        connections: Connections,
        find_context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self.connections = connections
        self.find_context = find_context
        self._lobby = Lobby(self._admit, connections.drop, lambda: find_context() is not None)
        self._first_request_seconds = 0.0
        self._paused = False
        super().initialize(
            request_callback, max_header_size=MOST_REQUEST_BYTES, max_body_size=MOST_REQUEST_BYTES
        )

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        for each in sockets:
            _open_sockets.add(each)
            self._sockets[each.fileno()] = each
            self._watch(each)

    def _watch(self, listening: socket.socket) -> None:
        loop = IOLoop.current()
        loop.add_handler(listening, lambda *_: self._accept(listening), IOLoop.READ)
        self._handlers[listening.fileno()] = lambda: loop.remove_handler(listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(MOST_ACCEPTED):
            try:
                accepted, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in NO_MORE:
                    # Of a client that has gone already, in one of many ways.
                    continue
                if not self.connections.close_one():
                    self._pause(listening)
                    return
                continue
            self._paused = False
            _open_sockets.add(accepted)
            self.connections.add(self._lobby.enter(accepted, address))

    def _admit(self, guest: Guest) -> None:
        try:
            self.ssl_options = self.find_context()
            self._first_request_seconds = guest.seconds
            self._handle_connection(guest.socket, guest.address)
        except OSError:
            guest.socket.close()

    def _pause(self, listening: socket.socket) -> None:
        if not self._paused:
            self._paused = True
            logger.warning("No descriptors are left, so connections have to wait.")
        loop = IOLoop.current()
        number = listening.fileno()
        self._handlers[number]()
        resume = loop.call_later(PAUSE_SECONDS, self._watch, listening)
        self._handlers[number] = lambda: loop.remove_timeout(resume)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        # One of its own, since Tornado knows one deadline for the first request and for others.
        self.conn_params = HTTP1ConnectionParameters(
            max_header_size=MOST_REQUEST_BYTES,
            header_timeout=self._first_request_seconds,
            max_body_size=MOST_REQUEST_BYTES,
            body_timeout=BODY_SECONDS,
        )
        _open_sockets.add(stream.socket)
        self.connections.add(stream)
        super().handle_stream(stream, address)

    def stop(self) -> None:
        super().stop()
        self._lobby.close()

    def on_close(self, server_conn: object) -> None:
        self.connections.drop(cast(HTTP1ServerConnection, server_conn).stream)
        super().on_close(server_conn)


def _leave_sockets() -> None:
    """Let no child that is forked keep the port from the next exporter, or a client waiting."""
    for each in list(_open_sockets):
        each.close()


os.register_at_fork(after_in_child=_leave_sockets)
