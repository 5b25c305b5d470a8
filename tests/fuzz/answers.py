"""Send any bytes to a server, and read what it answers as strictly as HTTP is written down."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from dataclasses import dataclass

HANG_SECONDS = 5.0
# After that long without an answer, a server that waits for more is told that nothing comes.
UNFINISHED_SECONDS = 0.02
SERVER_ERROR = 500
HEAD = re.compile(
    rb"HTTP/1\.1 (?P<status>\d{3}) [ -~]*\r\n"
    rb"(?P<headers>(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]*\r\n)*)\r\n"
)


@dataclass(frozen=True)
class Answer:
    """One answer; its headers' names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(port: int, request: bytes, *, complete: bool = True) -> bytes:
    """Send bytes and return what comes until the server closes, which it must do in time.

    Of a request that may not be ``complete`` the end is sent when no answer comes.
    """
    with socket.create_connection(("127.0.0.1", port), HANG_SECONDS) as client:
        received = b""
        with suppress(ConnectionError):
            client.sendall(request)
            if not complete:
                received = receive_first(client)
                client.shutdown(socket.SHUT_WR)
            while part := client.recv(1 << 20):
                received += part
        return received


def receive_first(client: socket.socket) -> bytes:
    """Return what comes at once, if anything does."""
    client.settimeout(UNFINISHED_SECONDS)
    try:
        return client.recv(1 << 20)
    except TimeoutError:
        return b""
    finally:
        client.settimeout(HANG_SECONDS)


def read_answers(received: bytes, methods: tuple[str, ...] = ("GET",)) -> list[Answer]:
    """Return the answers to requests of these methods, in order; there may be fewer of them.

    Raises AssertionError where anything is malformed, or more comes than was asked for.
    """
    answers = []
    waiting = list(methods)
    while received:
        assert waiting, received
        answer, received = read_answer(received, without_body=waiting[0] == "HEAD")
        if answer.status >= 200:
            waiting.pop(0)
            answers.append(answer)
    return answers


def read_answer(received: bytes, *, without_body: bool) -> tuple[Answer, bytes]:
    """Return the first answer, and what follows it."""
    head = HEAD.match(received)
    assert head, received
    status = int(head["status"])
    lines = [line.split(": ", 1) for line in head["headers"].decode().split("\r\n")[:-1]]
    headers = {name.lower(): value for name, value in lines}
    assert len(headers) == len(lines), f"twice the same header: {lines}"
    rest = received[head.end() :]
    if without_body or status < 200:
        return Answer(status, headers, b""), rest
    # Without a length, as in the refusal of something that is no HTTP, there must be no body.
    length = int(headers.get("content-length", "0"))
    assert len(rest) >= length, f"{len(rest)} of {length} bytes came"
    return Answer(status, headers, rest[:length]), rest[length:]


def ask(port: int, *headers: bytes, target: bytes = b"/metrics", method: str = "GET") -> Answer:
    """Send a request with header lines of any content; return the one answer it must have."""
    lines = (b"%s %s HTTP/1.1" % (method.encode(), target), b"Connection: close", *headers)
    if not any(line.lower().startswith(b"host:") for line in headers):
        lines += (b"Host: localhost",)
    received = exchange(port, b"\r\n".join(lines) + b"\r\n\r\n")
    (answer,) = read_answers(received, (method,))
    return answer
