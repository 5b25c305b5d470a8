"""The telemetry path over real sockets: formats, filters, limits, and clients that do not read."""

from __future__ import annotations

import gzip
import http.client
import logging
import math
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import Message
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from metrics_commands.collectors.registry import CollectorSet
from metrics_commands.management.pages import Pages
from metrics_commands.server import connections, door, scrape
from metrics_commands.server.activity import Activity
from metrics_commands.server.telemetry import Page, Question, Telemetry
from tests.collectors.gathers import Simple, gauge
from tests.processes import fetch, parse_samples, sample, wait_until
from tests.server.certificates import SERVER, make_client, write_configuration
from tests.server.serving import CONTENT_TYPE, PLAIN, Gate, Server, read_all, running

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
LARGE = 20_000_000
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds"


def collect_many() -> Iterator[Metric]:
    """Yield enough for a page that is worth compressing."""
    yield from (gauge(f"many_{number}", number, kind="a") for number in range(100))


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the door trust files as soon as they are written, and not make its context twice."""
    monkeypatch.setattr(door, "TICK_SECONDS", 0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Start a server with the pages of real collectors."""
    collectors = CollectorSet(
        {"many": Simple(collect_many), "one": Simple(lambda: [gauge("one", 1)])}
    )
    telemetry = Pages(collectors, Activity()).offer("/metrics")
    with running(telemetry=telemetry) as server:
        yield server


def ask(
    server: Server, query: str = "", method: str = "GET", **headers: str
) -> tuple[int, Message, bytes]:
    """Ask for the metrics."""
    return fetch(f"{server.url}/metrics{query}", method, None, **headers)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", CONTENT_TYPE),
        ("*/*", CONTENT_TYPE),
        ("text/html", CONTENT_TYPE),
        ("application/openmetrics-text;version=abc", CONTENT_TYPE),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;q=0.1,text/plain;version=0.0.4", CONTENT_TYPE),
        (PROMETHEUS, OPENMETRICS.replace("underscores", "allow-utf-8")),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(
    server: Server, accept: str, content_type: str
) -> None:
    """A scraper gets its own format by its exact name, and caches are told why."""
    status, headers, body = ask(server, Accept=accept)
    assert (status, headers["Content-Type"]) == (200, content_type)
    assert headers["Vary"] == "Accept, Accept-Encoding"
    assert body.endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")


@pytest.mark.parametrize(
    ("codings", "compressed"),
    [
        ("gzip", True),
        ("gzip;q=0.1, br", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("deflate, br, zstd", False),
        ("gzip;q=x", False),
    ],
)
def test_a_page_is_compressed_for_who_can_unpack_it(
    server: Server, codings: str, compressed: bool
) -> None:
    """Nobody is sent bytes that it did not say it could read."""
    _, headers, body = ask(server, **{"Accept-Encoding": codings})
    assert (headers["Content-Encoding"] == "gzip") == compressed
    assert int(headers["Content-Length"]) == len(body)
    page = gzip.decompress(body) if compressed else body
    assert sample(parse_samples(page.decode()), "many_7", kind="a") == 7


def test_a_small_page_is_sent_as_it_is(server: Server) -> None:
    """What fits in a packet is not compressed."""
    _, headers, body = ask(server, "?name[]=one", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] is None
    assert b"\none 1.0\n" in body


@pytest.mark.parametrize("accept", ["", PROMETHEUS])
@pytest.mark.parametrize("query", ["", "?collect[]=one", "?collect[]=nope", "?name[]=one"])
def test_head_has_the_headers_of_get(server: Server, query: str, accept: str) -> None:
    """Who looks before asking sees what would come, apart from its length and its coding."""
    seen = []
    for method in ("GET", "HEAD"):
        status, headers, _ = ask(server, query, method, Accept=accept)
        kept = {k: v for k, v in headers.items() if k not in {"Content-Length", "Date"}}
        seen.append((status, kept))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("collect[]=one", {"one"}),
        ("collect%5B%5D=one", {"one"}),
        ("collect[]=one&collect[]=many", {"one", "many_1"}),
        ("exclude[]=many", {"one"}),
        ("exclude[]=one", {"many_1"}),
        ("name[]=many_1", {"many_1"}),
        ("name[]=one&name[]=many_1", {"one", "many_1"}),
        ("collect[]=many&name[]=one", set()),
        ("name[]=nope", set()),
        ("collect=one", {"one", "many_1"}),
    ],
)
def test_filters_leave_what_is_asked_for(server: Server, query: str, names: set[str]) -> None:
    """A scrape config that takes only a part gets that part."""
    status, _, body = ask(server, f"?{query}")
    assert status == 200
    shown = {name for name, _ in parse_samples(body.decode())}
    assert shown & {"one", "many_1"} == names


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (
            "collect[]=one&exclude[]=many",
            "Combined collect and exclude queries are not allowed.",
        ),
        ("collect[]=nope", "Couldn't create filtered metrics handler: missing collector: nope"),
        ("exclude[]=gc", "Couldn't create filtered metrics handler: disabled collector: gc"),
        ("collect[]=", "Couldn't create filtered metrics handler: missing collector: "),
        (
            "collect[]=%0d%0aX:%201%1b[2J",
            "Couldn't create filtered metrics handler: missing collector: X: 1 [2J",
        ),
    ],
)
def test_filters_that_make_no_sense_are_the_clients_mistake(
    server: Server, query: str, reason: str
) -> None:
    """The reason is the one that other exporters give, and repeats no control character."""
    status, headers, body = ask(server, f"?{query}")
    assert (status, body.decode().split("\n")[0]) == (400, reason)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "X" not in headers


def test_ten_thousand_filters_are_refused_and_cost_nothing(server: Server) -> None:
    """A request line without end is not read to its end."""
    received = server.exchange(
        b"GET /metrics?" + b"name[]=a&" * 10_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    assert b"200 OK" not in received
    assert ask(server)[0] == 200


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        ("10", 9.5),
        ("0.5", 0.25),
        ("1e-9", 0.1),
        ("1e300", 119.5),
        ("inf", 119.5),
        ("nan", 9.5),
        ("-1", 9.5),
        ("-inf", 9.5),
        ("0", 9.5),
        ("", 9.5),
        ("soon", 9.5),
        ("10, 10", 9.5),
        ("9" * 5000, 119.5),
        (None, 9.5),
    ],
    ids=str,
)
def test_a_scrape_waits_as_long_as_its_client_does(timeout: str | None, seconds: float) -> None:
    """A little less than the client's timeout; one that makes no sense is none."""
    asked: list[Question] = []

    def make(question: Question) -> Page:
        asked.append(question)
        return Page(PLAIN, CONTENT_TYPE)

    with running(telemetry=Telemetry("/metrics", make, lambda _: CONTENT_TYPE)) as server:
        assert ask(server, **({} if timeout is None else {TIMEOUT_HEADER: timeout}))[0] == 200
    assert math.isclose(asked[0].seconds, seconds)


def test_one_scrape_too_many_is_told_the_limit() -> None:
    """An operator reads which limit was reached; HEAD, which costs nothing, is answered."""
    gate = Gate()
    with running(gate, most_requests=1) as server, server.send_scrape() as client:
        gate.wait_until_entered()
        status, headers, body = ask(server)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert body == b"Limit of concurrent requests reached (1), try again later.\n"
        assert ask(server, method="HEAD")[0] == 200
        gate.opened.set()
        assert read_all(client).endswith(PLAIN)
        assert ask(server)[0] == 200
        wait_until(lambda: server.service.activity.requests == {200: 3, 503: 1})


def test_without_a_limit_all_are_served() -> None:
    """Zero means any number, as with other exporters."""
    gate = Gate()
    with running(gate, most_requests=0) as server, ExitStack() as stack:
        queries = [f"?name[]={each}" for each in range(60)]
        clients = [stack.enter_context(server.send_scrape(query=each)) for each in queries]
        gate.wait_until_entered(60)
        gate.opened.set()
        assert all(read_all(client).startswith(b"HTTP/1.1 200 ") for client in clients)


@pytest.mark.parametrize("size", [0, 1, LARGE])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_page_of_any_size_arrives_whole(tmp_path: Path, size: int, tls: bool) -> None:
    """Nothing is too small or too large, and the connection stays usable."""
    page = b"x" * size
    path = write_configuration(tmp_path, SERVER) if tls else None
    with running(lambda: page, web_config_file=path) as server:
        client: socket.socket = server.connect()
        if tls:
            client = make_client().wrap_socket(client, server_hostname="localhost")
        with client, client.makefile("rb") as answer:
            for _ in range(2):
                client.sendall(REQUEST)
                assert answer.readline().startswith(b"HTTP/1.1 200 ")
                head = http.client.parse_headers(answer)
                assert head["Content-Length"] == str(size)
                assert answer.read(size) == page


def test_requests_sent_at_once_are_answered_in_order() -> None:
    """Whoever does not wait for an answer gets each of them, one after the other."""
    pages = iter([b"first", b"second", b"third"])
    with running(lambda: next(pages)) as server:
        last = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        received = server.exchange(REQUEST + REQUEST + last)
    assert re.findall(rb"\r\n\r\n([a-z]+)", received) == [b"first", b"second", b"third"]


def leave_unread(server: Server, stack: ExitStack) -> socket.socket:
    """Ask for a large page, and read no more than its beginning."""
    client = stack.enter_context(server.send_scrape())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_who_never_reads_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tls: bool
) -> None:
    """A client that hangs costs no memory for longer than the deadline; others are served."""
    monkeypatch.setattr(scrape, "WRITE_SECONDS", 0.3)
    path = write_configuration(tmp_path, SERVER) if tls else None
    with running(lambda: bytes(LARGE), web_config_file=path) as server:
        client: socket.socket = server.connect()
        if tls:
            client = make_client().wrap_socket(client, server_hostname="localhost")
        with client:
            client.sendall(REQUEST)
            assert client.recv(12) == b"HTTP/1.1 200"
            wait_until(lambda: not server.service.connections)
            assert server.service.activity.in_flight == 0
            assert len(read_all(client)) < LARGE
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_pages_that_wait_for_readers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound who has not read for longest loses its page, and the newest is served."""
    monkeypatch.setattr(connections, "MOST_UNSENT_BYTES", 2.5 * LARGE)
    monkeypatch.setattr(connections, "QUICK_SECONDS", 1e-9)
    with running(lambda: bytes(LARGE)) as server, ExitStack() as stack:
        first = leave_unread(server, stack)
        second = leave_unread(server, stack)
        assert len(server.service.connections) == 2
        third = leave_unread(server, stack)
        assert len(server.service.connections) == 2
        assert len(read_all(first)) < LARGE
        assert len(read_all(second)) > LARGE
        assert len(read_all(third)) > LARGE
        wait_until(lambda: not server.service.connections)


def test_a_page_above_the_bound_is_served_to_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is larger than all that may wait still reaches who reads it."""
    monkeypatch.setattr(connections, "MOST_UNSENT_BYTES", LARGE / 2)
    monkeypatch.setattr(connections, "QUICK_SECONDS", 1e-9)
    with running(lambda: bytes(LARGE)) as server, ExitStack() as stack:
        waiting = leave_unread(server, stack)
        assert len(ask(server)[2]) == LARGE
        assert len(read_all(waiting)) < LARGE


def test_who_leaves_in_the_middle_is_no_longer_counted(caplog: pytest.LogCaptureFixture) -> None:
    """What is in flight is what somebody still reads."""
    with running(lambda: bytes(LARGE)) as server, ExitStack() as stack:
        client = leave_unread(server, stack)
        assert server.service.activity.in_flight == 1
        client.close()
        wait_until(lambda: server.service.activity.in_flight == 0)
        assert len(ask(server)[2]) == LARGE
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_requests_of_who_has_left_are_not_counted_as_answered() -> None:
    """What was sent at once, and nobody waits for, is neither gathered nor a success."""
    many = 20
    gate = Gate()
    with running(gate) as server:
        with server.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * many)
            gate.wait_until_entered()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gate.opened.set()
        requests = server.service.activity.requests
        wait_until(lambda: sum(requests.values()) == many)
        assert len(gate.entered) + requests[scrape.CLIENT_LEFT] == many
        assert len(gate.entered) < many
