"""The traffic that both projects get: one request for each thing that is counted."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlsplit


class Visit(NamedTuple):
    """One request, and the status that answers it."""

    path: str
    status: int = 200
    method: str = "GET"
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012


AJAX = {"X-Requested-With": "XMLHttpRequest"}
PLAIN = (
    Visit("/"),
    Visit("/", method="HEAD"),
    Visit("/", method="OPTIONS"),
    Visit("/upload", method="FOOBAR"),
    Visit("/", headers=AJAX),
    Visit("/unnamed"),
    Visit("/nowhere", 404),
    Visit("/nowhere", 404, "POST", b"x"),
    *(Visit("/upload", 200, "POST", b"x" * size) for size in (0, 1, 2, 3, 1000, 100_000)),
    Visit("/upload", 200, "PUT", b"put"),
    Visit("/upload", 200, "DELETE"),
    Visit("/redirect", 302),
)
FAILURES = (
    Visit("/missing-dog", 404),
    Visit("/forbidden", 403),
    Visit("/broken", 500),
    Visit("/", 403, "FOOBAR"),
    Visit("/async-broken", 500),
    Visit("/protected", 403, "POST", b"x"),
    Visit("/?closed", 503),
    Visit("/?broken-middleware", 500),
)
CONTENTS = (
    Visit("/template"),
    Visit("/templates"),
    Visit("/template-object"),
    Visit("/rendered"),
    Visit("/json"),
    Visit("/latin"),
    Visit("/stream"),
    Visit("/file"),
    Visit("/async"),
    Visit("/async-stream"),
)
DATA = tuple(
    Visit(f"/{path}")
    for path in (
        "query", "query-many", "query-wrong", "connect-wrong", "cache", "dogs/insert",
        "dogs/update", "write-in-vain", "delete",
    )
)  # fmt: skip
TRAFFIC = (*PLAIN, *FAILURES, *CONTENTS, *DATA)


def send_traffic(url: str) -> None:
    """Send it all, one request after the other, each on a connection of its own."""
    for visit in TRAFFIC:
        status = send(url, visit)
        assert status == visit.status, visit


def send(url: str, visit: Visit) -> int:
    """Send one request, read the whole answer, and return its status."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(visit.method, visit.path, visit.body or None, visit.headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
