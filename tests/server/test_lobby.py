"""The lobby over real sockets: who is let in, who is sent away, and what waiting costs."""

from __future__ import annotations

import select
import socket
import time

import psutil
import pytest

from metrics_commands.server import lobby
from tests.processes import TIMEOUT, wait_until
from tests.server.serving import PLAIN, Server, read_all, running

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PART = len(REQUEST) // 2
ENDS = {"CRLF": REQUEST, "LF": REQUEST.replace(b"\r\n", b"\n")}


@pytest.fixture(params=["attentive", "ignorant"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run on this kernel, and on one that neither waits for more bytes nor tells who has left."""
    if request.param == "ignorant":
        monkeypatch.setattr(lobby, "wait_for_more", lambda client, seen: True)
        monkeypatch.delattr(select, "POLLRDHUP")
    return str(request.param)


def wait_for_guest(server: Server) -> None:
    """Wait until there is a connection, which has not asked."""
    wait_until(lambda: len(server.service.connections) == 1)


@pytest.mark.parametrize("request_", ENDS.values(), ids=ENDS)
def test_a_request_in_pieces_is_answered_when_it_is_whole(request_: bytes) -> None:
    """Wherever it is cut, and also byte by byte."""
    with running() as server:
        for size in (1, PART, len(request_) - 1):
            with server.connect() as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                wait_for_guest(server)
                for start in range(0, len(request_), size):
                    assert not select.select([client], [], [], 0.001)[0]
                    client.sendall(request_[start : start + size])
                assert read_all(client).endswith(PLAIN)
            wait_until(lambda: not server.service.connections)


@pytest.mark.parametrize("part", [b"", REQUEST[:PART]], ids=["nothing", "half a request"])
@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
def test_who_leaves_is_forgotten_at_once(part: bytes, reset: bool) -> None:
    """Nobody waits for the deadline of a client that has left."""
    with running() as server:
        with server.connect() as client:
            client.sendall(part)
            wait_for_guest(server)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        start = time.monotonic()
        wait_until(lambda: not server.service.connections)
        assert time.monotonic() - start < lobby.FIRST_REQUEST_SECONDS / 2


def test_a_request_that_is_too_long_is_not_waited_for() -> None:
    """What has no end within the limit is not kept until the deadline."""
    with running() as server:
        endless = REQUEST[:-2] + b"X: " + b"x" * lobby.MOST_REQUEST_BYTES
        start = time.monotonic()
        assert server.exchange(endless) == b""
        assert time.monotonic() - start < lobby.FIRST_REQUEST_SECONDS / 2


@pytest.mark.parametrize("part", [b"", REQUEST[:PART]], ids=["nothing", "half a request"])
def test_who_waits_costs_no_processor(part: bytes) -> None:
    """A guest, also one of whom something has come, is not looked at until there is more."""
    with running() as server, server.connect() as client:
        client.sendall(part)
        wait_for_guest(server)

        def used() -> float:
            number = server.thread.native_id
            threads = psutil.Process().threads()
            return sum(sum(each[1:]) for each in threads if each.id == number)

        before = used()
        assert not select.select([client], [], [], 0.5)[0]
        assert used() - before < 0.25
        client.sendall(REQUEST[len(part) :])
        assert read_all(client).endswith(PLAIN)


def test_guests_leave_with_the_server() -> None:
    """The end does not wait for them, nor leave them waiting."""
    with running() as server, server.connect() as client:
        client.sendall(REQUEST[:PART])
        wait_for_guest(server)
        assert server.end() < TIMEOUT / 2
        assert read_all(client) == b""
