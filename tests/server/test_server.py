"""HTTP as a client sees it, over real sockets."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from metrics_commands.server.handlers import MOST_REQUESTS
from metrics_commands.server.server import DRAIN_SECONDS
from tests.processes import fetch, wait_until
from tests.server.serving import CONTENT_TYPE, PLAIN, Gate, Server, read_all, running


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serve one plain page of metrics for all tests that do not end the server."""
    with running() as running_server:
        yield running_server


def test_the_telemetry_path_answers_the_page_that_was_gathered(server: Server) -> None:
    """Prometheus gets exactly the bytes and the content type that were made for it."""
    status, headers, body = fetch(f"{server.url}/metrics?format=any")
    assert (status, headers["Content-Type"], body) == (200, CONTENT_TYPE, PLAIN)
    assert headers["Content-Length"] == str(len(PLAIN))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/", '<a href="/metrics">'),
        ("/-/healthy", "is Healthy"),
        ("/-/ready", "is Ready"),
    ],
)
def test_pages_beside_the_metrics_answer_without_gathering(path: str, content: str) -> None:
    """People and orchestrators can look as often as they like; only a scrape does work."""

    def gather() -> bytes:
        raise AssertionError("gathered")

    with running(gather) as server:
        status, _, body = fetch(f"{server.url}{path}")
        assert status == 200
        assert content in body.decode()


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/-/ready"])
def test_head_answers_without_a_body_and_without_gathering(path: str) -> None:
    """A HEAD costs nothing, and the connection stays usable after it."""

    def gather() -> bytes:
        raise AssertionError("gathered")

    with running(gather) as server:
        connection = server.open()
        for request_path in (path, "/-/healthy"):
            connection.request("HEAD", request_path)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"")
        connection.request("GET", "/-/healthy")
        assert b"Healthy" in connection.getresponse().read()
        connection.close()


@pytest.mark.parametrize(
    "path", ["/metric", "/metrics/", "/metrics2", "/x/metrics", "/-/", "/-/quit", "/..", "/%00"]
)
def test_any_other_path_is_not_found(server: Server, path: str) -> None:
    """Nothing but the named paths is served."""
    status, _, body = fetch(f"{server.url}{path}")
    assert (status, body) == (404, b"Not Found\n")


def test_the_telemetry_path_means_itself_and_is_no_pattern() -> None:
    """A dot in the configured path matches a dot only."""
    with running(telemetry_path="/shop.metrics/v1~") as server:
        assert fetch(f"{server.url}/shop.metrics/v1~")[0] == 200
        assert fetch(f"{server.url}/shopXmetrics/v1~")[0] == 404
        assert fetch(f"{server.url}/metrics")[0] == 404
        assert b'href="/shop.metrics/v1~"' in fetch(server.url)[2]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/-/ready"])
def test_other_methods_are_refused_with_what_is_allowed(
    server: Server, method: str, path: str
) -> None:
    """Whoever sends another method is told which ones there are."""
    status, headers, body = fetch(f"{server.url}{path}", method=method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert body == b"Method Not Allowed\n"


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/-/ready", "/nowhere"])
def test_no_answer_tells_what_software_serves(server: Server, path: str) -> None:
    """Scanners learn neither the server's name nor its version."""
    _, headers, body = fetch(f"{server.url}{path}")
    assert "Server" not in headers
    assert not re.search("tornado|python", f"{headers}{body.decode()}", re.IGNORECASE)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_one_connection_carries_many_scrapes(server: Server) -> None:
    """Prometheus keeps its connection from scrape to scrape."""
    connection = server.open()
    ports = set()
    for _ in range(3):
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == PLAIN
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 400 "),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", b""),
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 "),
    ],
    ids=["tls", "no path", "version", "bad length", "huge body", "huge header", "old client"],
)
def test_odd_requests_end_their_own_connection_only(
    server: Server, request_bytes: bytes, answer: bytes
) -> None:
    """Garbage is refused and its connection closed; the next scrape is served."""
    received = server.exchange(request_bytes)
    assert received.startswith(answer)
    assert bool(received) == bool(answer)
    assert fetch(f"{server.url}/metrics")[2] == PLAIN


@pytest.mark.parametrize(
    "error",
    [ValueError("secret"), SystemExit("secret"), StopIteration("secret"), KeyboardInterrupt()],
    ids=repr,
)
def test_a_page_that_cannot_be_made_is_a_plain_500(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The scraper sees no detail, the log sees all, and the server goes on."""

    def gather() -> bytes:
        raise error

    with running(gather) as server:
        status, _, body = fetch(f"{server.url}/metrics")
        assert (status, body) == (500, b"Internal Server Error\n")
        assert fetch(f"{server.url}/-/healthy")[0] == 200
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.getMessage() == "Answering '/metrics' failed."
    assert repr(error).split("(")[0] in logging.Formatter().format(record)


def test_a_slow_scrape_does_not_delay_other_answers() -> None:
    """An orchestrator's health check is answered while a scrape takes its time."""
    gate = Gate()
    with running(gate) as server, server.send_scrape() as client:
        gate.wait_until_entered()
        assert fetch(f"{server.url}/-/healthy")[0] == 200
        gate.opened.set()
        assert read_all(client).endswith(PLAIN)


def test_more_pages_at_once_than_the_limit_are_refused_and_later_served() -> None:
    """Scrapes that hang use a bounded number of threads; when they end, service resumes."""
    gate = Gate()
    with running(gate) as server:
        clients = [server.send_scrape(query=f"?name[]={each}") for each in range(MOST_REQUESTS)]
        gate.wait_until_entered(MOST_REQUESTS)
        status, _, body = fetch(f"{server.url}/metrics")
        assert (status, str(MOST_REQUESTS) in body.decode()) == (503, True)
        gate.opened.set()
        for client in clients:
            with client:
                assert read_all(client).startswith(b"HTTP/1.1 200 ")
        assert fetch(f"{server.url}/metrics")[0] == 200


def test_scrapes_at_once_that_ask_alike_have_one_page() -> None:
    """Ten Prometheus servers, or two hundred clients that mean harm, cost one gather."""
    gate = Gate()
    with running(gate, most_requests=1) as server:
        first = server.send_scrape()
        gate.wait_until_entered()
        others = [server.send_scrape() for _ in range(200)]
        wait_until(lambda: server.service.activity.in_flight == 201)
        first.close()
        gate.opened.set()
        for client in others:
            with client:
                assert read_all(client).endswith(PLAIN)
        assert len(gate.entered) == 1


def test_a_client_that_leaves_before_its_page_is_made_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A scrape that Prometheus gave up on fills no log and holds up nothing."""
    gate = Gate()
    with running(gate) as server:
        client = server.send_scrape()
        gate.wait_until_entered()
        client.close()
        gate.opened.set()
        assert fetch(f"{server.url}/metrics")[2] == PLAIN
        assert server.end() < DRAIN_SECONDS
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_client_that_has_gone_has_nothing_gathered_for_it() -> None:
    """Hundreds of requests in one write, by a client that leaves, cost at most a few gathers."""
    gate = Gate()
    with running(gate) as server:
        with server.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 300)
            gate.wait_until_entered()
        gate.opened.set()
        assert fetch(f"{server.url}/metrics")[2] == PLAIN
    assert len(gate.entered) < 30


def test_a_client_that_leaves_in_the_middle_of_its_page_does_not_hold_up_the_end() -> None:
    """What was being sent to a client that is gone is no longer in flight."""
    with running(lambda: bytes(20_000_000)) as server:
        with server.send_scrape(receive_buffer=4096) as client:
            assert client.recv(12) == b"HTTP/1.1 200"
        assert server.end() < DRAIN_SECONDS


def test_idle_and_unfinished_connections_do_not_hold_up_the_end() -> None:
    """Only scrapes are waited for."""
    with running() as ending:
        connection = ending.open()
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == PLAIN
        with ending.connect() as unfinished, ending.connect():
            unfinished.sendall(b"GET /metrics HTTP/1.1\r\nHo")
            assert ending.end() < DRAIN_SECONDS
            assert read_all(unfinished) == b""
        connection.close()
