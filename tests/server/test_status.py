"""Who sees the status page, and what everyone else sees, over real sockets."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import bcrypt
import psutil
import pytest
from tornado.httputil import HTTPHeaders

from metrics_commands.server import status_pages
from metrics_commands.server.door import Door
from metrics_commands.server.handlers import Service
from metrics_commands.server.server import serve
from metrics_commands.server.shutdown import Shutdown
from metrics_commands.server.status_pages import StatusPages, is_near
from tests.processes import TIMEOUT, fetch, wait_until
from tests.server.serving import make_plain_page, make_service, make_telemetry

WHOLE = b"<p>the whole page</p>"
DOCUMENT = b'{"version": 1}'
SMALL = "One process serves the metrics"
STYLE = ("text/css; charset=utf-8", b"p {}")


@dataclass
class Making:
    """Makes pages, as slowly as a test wants."""

    content: bytes = WHOLE
    made: list[None] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.opened.set()

    def __call__(self) -> bytes:
        """Make one."""
        self.made.append(None)
        assert self.opened.wait(TIMEOUT)
        return self.content


@dataclass(frozen=True)
class Site:
    """A server that runs, and what its handlers share."""

    url: str
    service: Service


@contextmanager
def serving(
    make_page: Callable[[], bytes],
    *,
    host: str = "127.0.0.1",
    web_config_file: Path | None = None,
) -> Iterator[Site]:
    """Serve a status page until the block ends."""
    listener = socket.create_server((host, 0), backlog=128)
    listener.setblocking(False)
    shutdown, door = Shutdown(), Door(web_config_file)
    service = make_service(make_telemetry(make_plain_page), door)
    service.status = StatusPages(
        make_page,
        lambda: DOCUMENT,
        lambda: service.gate.asks_for_password,
        {"/status.css": STYLE},
    )
    thread = threading.Thread(target=serve, args=([listener], service, shutdown))
    thread.start()
    try:
        yield Site(f"http://{host}:{listener.getsockname()[1]}", service)
    finally:
        shutdown.request()
        thread.join(TIMEOUT)
        listener.close()


@pytest.fixture
def making() -> Making:
    """Return what makes the pages."""
    return Making()


@pytest.fixture
def url(making: Making) -> Iterator[str]:
    """Serve on the loopback address."""
    with serving(making) as site:
        yield site.url


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """Return a web configuration file with one user."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users:\n  alice: {hashed}\n")
    path.chmod(0o600)
    return path


def find_other_address() -> str:
    """Return an IPv4 address of this machine that is not loopback; skip where there is none."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family == socket.AF_INET and not each.address.startswith("127."):
                return str(each.address)
    pytest.skip("this machine has only its loopback address")


def test_this_machine_sees_everything(url: str) -> None:
    """Who is on the machine needs no password where there are no users."""
    status, headers, body = fetch(url)
    assert (status, body) == (200, WHOLE)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    status, headers, body = fetch(f"{url}/status.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == {"version": 1}


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "x-forwarded-proto", "Forwarded", "X-Real-IP", "Via"]
)
def test_who_comes_through_a_proxy_sees_little(url: str, making: Making, header: str) -> None:
    """Behind a proxy on the same machine every stranger comes from loopback."""
    proxied: Any = {header: "127.0.0.1"}
    status, _, body = fetch(url, **proxied)
    assert status == 200
    assert SMALL in body.decode()
    assert fetch(f"{url}/status.json", **proxied)[::2] == (403, b"Forbidden\n")
    assert not making.made


def test_who_comes_from_elsewhere_sees_little(making: Making) -> None:
    """Whoever reaches the port over the network has the links, as ever."""
    with serving(making, host=find_other_address()) as site:
        status, _, body = fetch(site.url)
        assert status == 200
        assert '<a href="/metrics">' in body.decode()
        assert fetch(f"{site.url}/status.json")[0] == 403
    assert not making.made


def test_a_user_sees_everything_from_anywhere(making: Making, users: Path) -> None:
    """The password of the web configuration file opens the page, and nothing else does."""
    login: Any = {"Authorization": "Basic " + base64.b64encode(b"alice:right").decode()}
    proxied: Any = {"X-Forwarded-For": "192.0.2.1"}
    with serving(making, web_config_file=users) as site:
        for path in ("/", "/status.json", "/status.css"):
            assert fetch(f"{site.url}{path}")[0] == 401
        assert fetch(site.url, **proxied, **login)[2] == WHOLE
        assert fetch(f"{site.url}/status.json", **login)[2] == DOCUMENT


def test_a_header_with_a_password_opens_nothing_where_there_are_no_users(url: str) -> None:
    """A stranger behind the proxy cannot log in to what has no users."""
    headers: Any = {"Authorization": "Basic YTpi", "X-Forwarded-For": "192.0.2.1"}
    assert SMALL in fetch(url, **headers)[2].decode()


@pytest.mark.parametrize("path", ["/", "/status.json", "/status.css"])
def test_a_page_of_a_stranger_reads_nothing(url: str, path: str) -> None:
    """A name that leads here is refused, and no other site may embed or read an answer."""
    assert fetch(f"{url}{path}", Host="evil.example")[0] == 421
    _, headers, _ = fetch(f"{url}{path}")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_policy_of_the_web_configuration_file_stands(making: Making, tmp_path: Path) -> None:
    """Who configures a policy has that one, and only that one."""
    path = tmp_path / "web.yml"
    path.write_text(
        "http_server_config:\n  headers: {Content-Security-Policy: default-src 'self'}\n"
    )
    with serving(making, web_config_file=path) as site:
        assert fetch(site.url)[1].get_all("Content-Security-Policy") == ["default-src 'self'"]


def test_files_of_the_page_are_served(url: str) -> None:
    """The page has its style, and nothing beside what it names."""
    status, headers, body = fetch(f"{url}/status.css")
    assert (status, headers["Content-Type"], body) == (200, *STYLE)
    assert fetch(f"{url}/status.js")[0] == 404


@pytest.mark.parametrize("path", ["/statusXjson", "/statusXcss", "/status.json/"])
def test_a_path_means_itself_and_is_no_pattern(url: str, making: Making, path: str) -> None:
    """A dot matches a dot only, so that a proxy's rule for the page meets all of it."""
    assert fetch(f"{url}{path}")[0] == 404
    assert not making.made


@pytest.mark.parametrize("path", ["/", "/status.json", "/status.css"])
def test_head_makes_nothing(url: str, making: Making, path: str) -> None:
    """Who only asks whether the page is there costs nothing, and may ask on."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT)
    for _ in range(2):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
    connection.close()
    assert not making.made


def test_who_asks_at_once_has_one_page(making: Making) -> None:
    """Ten open browsers cost as much as one, and health is answered meanwhile."""
    making.opened.clear()
    with serving(making) as site, ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(fetch, site.url) for _ in range(10)]
        wait_until(lambda: len(site.service.connections._busy) == 10)
        assert fetch(f"{site.url}/-/healthy")[0] == 200
        making.opened.set()
        assert [answer.result()[2] for answer in answers] == [WHOLE] * 10
    assert len(making.made) == 1


def test_a_page_that_hangs_is_given_up(
    making: Making, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread hangs, however often a browser asks, and the end does not wait for it."""
    monkeypatch.setattr(status_pages, "MAKE_SECONDS", 0.05)
    making.opened.clear()
    assert [fetch(url)[0] for _ in range(3)] == [503] * 3
    assert len(making.made) == 1
    making.opened.set()


def test_a_page_that_cannot_be_made_is_a_plain_500(caplog: pytest.LogCaptureFixture) -> None:
    """The browser sees no detail, and the log all of it."""

    def fail() -> bytes:
        raise ValueError("secret")

    with serving(fail) as site:
        status, _, body = fetch(site.url)
        assert (status, body) == (500, b"Internal Server Error\n")
        assert fetch(f"{site.url}/status.json")[0] == 200
    assert "Answering '/' failed." in caplog.text


@pytest.mark.parametrize(
    ("peer", "near"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("", False),
        (None, False),
        ("localhost", False),
    ],
)
def test_near_is_who_has_a_loopback_address(peer: str | None, near: bool) -> None:
    """Only this machine itself, by either family, counts as near."""
    assert is_near(peer, HTTPHeaders()) is near
