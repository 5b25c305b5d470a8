"""Who is let in, over real sockets and real TLS: headers, limits, passwords, names, and changes."""

from __future__ import annotations

import base64
import ssl
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import NamedTuple

import bcrypt
import pytest
import trustme

from metrics_commands.server import door, lobby
from tests.processes import TIMEOUT
from tests.server.certificates import (
    AUTHORITY,
    SERVER,
    make_client,
    write_certificate,
    write_configuration,
)
from tests.server.serving import PLAIN, Server, running

PATHS = ("/metrics", "/", "/-/healthy", "/-/ready", "/nowhere", "/%2d/healthy", "*")
FAKE_HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
CONFIGURED = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Frame-Options": "deny",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "Strict-Transport-Security": "max-age=31536000",
}
HEADERS = "http_server_config:\n  headers:\n" + "".join(
    f'    {name}: "{value}"\n' for name, value in CONFIGURED.items()
)
CLIENTS = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
BROKEN = "basic_auth_users: {alice: }\n"


def hash_password(password: str) -> str:
    """Return a hash that costs little."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def make_users(**passwords: str) -> str:
    """Return the section with these users."""
    lines = [f"  {name}: {hash_password(each)}\n" for name, each in passwords.items()]
    return "basic_auth_users:\n" + "".join(lines)


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the door trust files as soon as they are written, and not make its context twice."""
    monkeypatch.setattr(door, "TICK_SECONDS", 0.0)


USERS = make_users(alice="right", bob="also right")


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Message
    body: bytes


def authorize(user: str, password: str) -> dict[str, str]:
    """Return the header of Basic authentication."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


ALICE = authorize("alice", "right")


def connect(server: Server, client: ssl.SSLContext | None = None) -> HTTPConnection:
    """Return a connection that is made at the first request."""
    if client is None:
        return server.open()
    return HTTPSConnection(*server.address, timeout=TIMEOUT, context=client)


def read(response: HTTPResponse) -> Answer:
    """Return an answer to its end."""
    return Answer(response.status, response.headers, response.read())


def exchange(
    connection: HTTPConnection,
    target: str = "/metrics",
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
) -> Answer:
    """Ask once, over a connection that may be in use already."""
    connection.request(method, target, headers=headers or {})
    return read(connection.getresponse())


def ask(
    server: Server,
    target: str = "/metrics",
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    client: ssl.SSLContext | None = None,
) -> Answer:
    """Ask once, over a connection of its own."""
    with closing(connect(server, client)) as connection:
        return exchange(connection, target, headers, method)


def exchange_file(path: Path, text: str) -> None:
    """Put another file in its place, as deployments do."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)


def fail() -> bytes:
    """Gather nothing."""
    raise ValueError


@pytest.mark.parametrize(
    ("status", "text", "request_line"),
    [
        (200, "", "GET /metrics"),
        (200, "", "HEAD /metrics"),
        (200, "", "GET /"),
        (400, "", "GET /metrics?name[]=%ff"),
        (401, USERS, "GET /metrics"),
        (404, "", "GET /nowhere"),
        (405, "", "POST /metrics"),
        (429, "rate_limit: {interval: 1h, burst: 0}\n", "GET /metrics"),
    ],
)
def test_every_answer_has_the_configured_headers(
    tmp_path: Path, status: int, text: str, request_line: str
) -> None:
    """A scanner that looks at error pages finds the same headers there."""
    method, target = request_line.split()
    path = write_configuration(tmp_path, HEADERS + text)
    with running(web_config_file=path) as server:
        answer = ask(server, target, method=method)
    assert answer.status == status
    assert {name: answer.headers[name] for name in CONFIGURED} == CONFIGURED
    assert "Server" not in answer.headers


def test_a_failure_has_the_configured_headers(tmp_path: Path) -> None:
    """So has a page that could not be made, one under a wrong name, and a closed door."""
    path = write_configuration(tmp_path, HEADERS)
    with running(fail, web_config_file=path) as server:
        answers = [ask(server), ask(server, "/", {"Host": "evil.example"})]
        exchange_file(path, BROKEN)
        answers.append(ask(server, "/"))
    assert [each.status for each in answers] == [500, 421, 500]
    for answer in answers:
        assert {name: answer.headers[name] for name in CONFIGURED} == CONFIGURED


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_without_a_password_nothing_can_be_told_from_nothing(tmp_path: Path, tls: bool) -> None:
    """Whoever may not enter learns neither which paths there are, nor their methods or names."""
    path = write_configuration(tmp_path, (SERVER if tls else "") + USERS)
    client = make_client() if tls else None
    with running(web_config_file=path) as server:
        answers = [
            ask(server, target, {"Host": host, **credentials}, method, client)
            for target in PATHS
            for method in ("GET", "POST", "BREW")
            for host, credentials in [
                ("localhost", {}),
                ("evil.example", {}),
                ("localhost", authorize("alice", "wrong")),
                ("localhost", {"Authorization": "Bearer right"}),
            ]
        ]
        assert ask(server, headers=ALICE, client=client).body == PLAIN
    assert {(each.status, each.body) for each in answers} == {(401, b"Unauthorized\n")}
    shown = [{**dict(each.headers), "Date": ""} for each in answers]
    assert all(each == shown[0] for each in shown)
    assert answers[0].headers["WWW-Authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "application/json"])
def test_no_body_is_looked_at_before_who_sends_it(tmp_path: Path, content_type: str) -> None:
    """One that would break a parser gets round neither the password, the limit, nor the door."""
    path = write_configuration(tmp_path, f"{USERS}rate_limit: {{interval: 1h, burst: 2}}\n")
    request = f"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n"
    request += "Content-Length: 4\r\nConnection: close\r\n"
    alice = f"{request}Authorization: {ALICE['Authorization']}\r\n"
    with running(web_config_file=path) as server:
        answers = [server.exchange(f"{each}\r\nbody".encode()) for each in (request, alice, alice)]
        exchange_file(path, BROKEN)
        answers.append(server.exchange(f"{alice}\r\nbody".encode()))
    assert [each.split()[1] for each in answers] == [b"401", b"405", b"429", b"500"]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_each_user_enters_with_the_own_password_only(tmp_path: Path, tls: bool) -> None:
    """Every user has full access; asked twice, since the second answer is remembered."""
    path = write_configuration(tmp_path, (SERVER if tls else "") + USERS)
    client = make_client() if tls else None
    with running(web_config_file=path) as server, closing(connect(server, client)) as connection:
        for user, password, status in [
            ("alice", "right", 200),
            ("bob", "also right", 200),
            ("alice", "also right", 401),
            ("alice", "", 401),
            ("alice", "right\0", 401),
            ("mallory", "right", 401),
            ("mallory", "fakepassword", 401),
            ("", "", 401),
        ] * 2:
            assert exchange(connection, "/metrics", authorize(user, password)).status == status


def test_users_that_cannot_be_checked_let_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where bcrypt is lost after the file was read, the second request is refused as the first."""
    path = write_configuration(tmp_path, USERS)
    with running(web_config_file=path) as server, monkeypatch.context() as without:
        without.setitem(sys.modules, "bcrypt", None)
        assert [ask(server).status for _ in range(3)] == [500] * 3
        without.undo()
        assert (ask(server).status, ask(server, headers=ALICE).status) == (401, 200)


def test_whether_a_password_was_asked_for_is_known_of_the_rules_that_admitted(
    tmp_path: Path,
) -> None:
    """The status page asks in a thread, where the door, which reads files, must not be asked."""
    path = write_configuration(tmp_path, USERS)
    with running(web_config_file=path) as server:
        assert ask(server, headers=ALICE).status == 200
        assert server.service.gate.asks_for_password
        exchange_file(path, "{}")
        assert server.service.gate.asks_for_password
        assert ask(server).status == 200
        assert not server.service.gate.asks_for_password


def test_what_was_remembered_of_a_stranger_opens_nothing(tmp_path: Path) -> None:
    """No user's name and password run together to those of another one (CVE-2022-46146)."""
    hashed = hash_password("right")
    path = write_configuration(tmp_path, f"basic_auth_users:\n  alice: {hashed}\n")
    with running(web_config_file=path) as server:
        for user, password in [
            (f"alice{hashed}", "fakepassword"),
            ("alice", f"{FAKE_HASH}fakepassword"),
            (f"alice:{hashed}", "right"),
            ("alice", f"{hashed}right"),
        ]:
            assert ask(server, headers=authorize(user, password)).status == 401
        assert ask(server, headers=ALICE).status == 200


def test_many_at_once_are_each_answered_rightly(tmp_path: Path) -> None:
    """Neither the users nor the strangers of a rush are taken for one another, or turned away."""
    path = write_configuration(tmp_path, USERS)
    passwords = ["right", "wrong"] * 150
    with running(web_config_file=path) as server, ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(ask, server, "/metrics", authorize("alice", p)) for p in passwords]
        statuses = [each.result().status for each in asked]
    assert statuses == [200, 401] * 150


@pytest.mark.parametrize(
    ("rate", "statuses"),
    [
        ("{interval: 0, burst: 0}", [401] * 10),
        ("{interval: 1h, burst: 2}", [401, 401, 429, 429]),
        ("{interval: 1s, burst: 0}", [429, 429]),
    ],
)
def test_the_rate_limit_comes_before_passwords(
    tmp_path: Path, rate: str, statuses: list[int]
) -> None:
    """A flood of guesses costs no bcrypt; it counts every path, and the right password too."""
    path = write_configuration(tmp_path, f"{USERS}rate_limit: {rate}\n")
    targets = ["/-/healthy", "/nowhere", "/metrics", "/"] * 3
    with running(web_config_file=path, open_paths=()) as server:
        answers = [ask(server, targets[number]) for number in range(len(statuses))]
        assert [each.status for each in answers] == statuses
        last = ask(server, headers=ALICE)
    assert last.status == (429 if 429 in statuses else 200)
    if last.status == 429:
        assert (last.headers["Retry-After"], last.body) == ("1", b"Too Many Requests\n")


def test_health_is_open_only_by_its_own_name(tmp_path: Path) -> None:
    """A probe needs no password where that is configured; no other spelling gets by with it."""
    path = write_configuration(tmp_path, USERS)
    with running(web_config_file=path, open_paths=["/-/healthy"]) as server:
        for method in ("GET", "HEAD"):
            assert ask(server, "/-/healthy?now", method=method).status == 200
        assert ask(server, "/-/healthy", {"Host": "evil.example"}).status == 421
        for target in (
            "/-/ready", "/-/healthy/", "/-/healthy2", "/-/healthy;x", "//-/healthy", "/%2d/healthy",
            "/-/%68ealthy", "/-%2fhealthy", "/metrics/../-/healthy", "/-/healthy%3f", "/-/healthy#",
            f"{server.url}/-/healthy", "-/healthy", "/-/HEALTHY", "/metrics?/-/healthy",
        ):  # fmt: skip
            assert ask(server, target).status == 401, target


HOSTS = {
    "localhost": 200,
    "127.0.0.1:9100": 200,
    "[::1]": 200,
    "METRICS.example.": 200,
    "evil.example": 421,
    "metrics.example.evil.example": 421,
    "127.0.0.1.evil.example": 421,
}


@pytest.fixture(scope="module")
def named() -> Iterator[Server]:
    """Start a server that has a name."""
    with running(names=["metrics.example"]) as server:
        yield server


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", ["/metrics", "/", "/-/healthy", "/-/ready"])
def test_pages_for_people_answer_to_our_names_only(named: Server, target: str, method: str) -> None:
    """A stranger's name that leads here reads nothing; Prometheus may use any name it has."""
    for host, status in HOSTS.items():
        answer = ask(named, target, {"Host": host}, method)
        assert answer.status == (200 if target == "/metrics" else status), host


@pytest.mark.parametrize("target", ["/nowhere", "/%2d/healthy", "/metrics/", "/metrics%3f", "*"])
def test_paths_that_are_not_there_are_not_told_to_strangers(named: Server, target: str) -> None:
    """A page under another name cannot look for paths either."""
    assert ask(named, target, {"Host": "evil.example"}).status == 421
    assert ask(named, target, {"Host": "localhost"}).status == 404


@pytest.mark.parametrize(("host", "status"), [("localhost", 404), ("evil.example", 421)])
@pytest.mark.parametrize("authority", ["http://localhost", "http://evil.example", "http://u:p@a"])
def test_a_name_in_the_request_line_does_not_stand_for_the_host(
    named: Server, authority: str, host: str, status: int
) -> None:
    """We are no proxy: what is asked for with a whole URL is not there, whoever is named."""
    for path in ("/", "/-/healthy", "/-/ready", "/nowhere"):
        assert ask(named, f"{authority}{path}", {"Host": host}).status == status


def issue(*names: str) -> ssl.SSLContext:
    """Return a client with a certificate of these names."""
    return make_client(AUTHORITY.issue_cert(*names))


def test_only_an_allowed_name_of_a_certificate_enters(tmp_path: Path) -> None:
    """A certificate of our own authority opens to those on the list, on every path."""
    allowed = "  client_allowed_sans: [prometheus.example, 10.0.0.1]\n"
    path = write_configuration(tmp_path, SERVER + CLIENTS + allowed)
    with running(web_config_file=path) as server:
        for names, status in [
            (["prometheus.example"], 200),
            (["other.example", "10.0.0.1"], 200),
            (["other.example"], 403),
            (["sub.prometheus.example"], 403),
            (["*.example"], 403),
        ]:
            client = issue(*names)
            assert ask(server, client=client).status == status
            assert ask(server, "/nowhere", client=client).status == (404 if status == 200 else 403)
        for stranger in (make_client(), make_client(trustme.CA().issue_cert("prometheus.example"))):
            with pytest.raises((ssl.SSLError, ConnectionError, HTTPException)):
                ask(server, client=stranger)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_is_still_known_by_its_name(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Prometheus, which resumes sessions, is neither refused for that nor taken for another."""
    allowed = "  client_allowed_sans: [prometheus.example]\n"
    path = write_configuration(tmp_path, SERVER + CLIENTS + allowed)
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    with running(web_config_file=path) as server:
        for name, answer in [("prometheus.example", b"200"), ("other.example", b"403")]:
            client = issue(name)
            client.maximum_version = version
            session, resumed = None, []
            for _ in range(2):
                with client.wrap_socket(
                    server.connect(), server_hostname="localhost", session=session
                ) as opened:
                    opened.sendall(request)
                    assert opened.recv(12) == b"HTTP/1.1 " + answer
                    session = opened.session
                    resumed.append(opened.session_reused)
            assert resumed == [False, True]


def test_tls_and_plain_clients_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is never sent in clear where TLS is configured, and never claimed where it is not."""
    # What a TLS client sends is taken for the beginning of a request.
    monkeypatch.setattr(lobby, "FIRST_REQUEST_SECONDS", 0.3)
    path = write_configuration(tmp_path, SERVER)
    with running(web_config_file=path) as server:
        assert PLAIN not in server.exchange(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert ask(server, client=make_client()).body == PLAIN
    with running() as server, pytest.raises((ssl.SSLError, ConnectionResetError)):
        ask(server, client=make_client())


def ask_in_vain(connection: HTTPConnection) -> None:
    """Ask over a connection that is closed instead of answered."""
    with pytest.raises((ssl.SSLError, ConnectionError, HTTPException)):
        exchange(connection)
    connection.close()


def find_shown(server: Server) -> bytes | None:
    """Return the certificate that a new connection is shown."""
    with make_client().wrap_socket(server.connect(), server_hostname="localhost") as opened:
        return opened.getpeercert(binary_form=True)


def test_users_change_under_an_open_connection(tmp_path: Path) -> None:
    """A password that was withdrawn opens nothing any more, also where it has just been used."""
    path = write_configuration(tmp_path, USERS)
    with running(web_config_file=path) as server, closing(server.open()) as connection:
        assert exchange(connection, headers=ALICE).status == 200
        exchange_file(path, make_users(alice="another"))
        assert exchange(connection, headers=ALICE).status == 401
        assert exchange(connection, headers=authorize("alice", "another")).status == 200
        exchange_file(path, "{}\n")
        assert exchange(connection).status == 200


def test_a_new_certificate_is_shown_and_old_connections_are_given_up(tmp_path: Path) -> None:
    """Who is connected connects again, as to a server that was restarted, and sees the new one."""
    path = write_configuration(tmp_path, SERVER)
    with running(web_config_file=path) as server:
        connection = connect(server, make_client())
        assert exchange(connection).body == PLAIN
        before = find_shown(server)
        write_certificate(tmp_path, "server", AUTHORITY.issue_cert("localhost", "127.0.0.1"))
        ask_in_vain(connection)
        assert find_shown(server) not in (None, before)
        assert exchange(connection).body == PLAIN
        connection.close()


def test_certificates_that_have_ended_are_of_no_use_until_they_are_renewed(tmp_path: Path) -> None:
    """Prometheus does not trust ours, nor do we trust its own; a new one needs no restart."""
    ended = datetime.now(timezone.utc) - timedelta(days=1)
    begun = ended - timedelta(days=1)
    old = AUTHORITY.issue_cert("127.0.0.1", not_before=begun, not_after=ended)
    path = write_configuration(tmp_path, SERVER + CLIENTS)
    valid = make_client(AUTHORITY.issue_cert("prometheus.example"))
    with running(web_config_file=path) as server:
        assert ask(server, client=valid).status == 200
        ask_in_vain(connect(server, make_client(old)))
        write_certificate(tmp_path, "server", old)
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            ask(server, client=valid)
        write_certificate(tmp_path, "server", AUTHORITY.issue_cert("127.0.0.1"))
        assert ask(server, client=valid).status == 200


def test_who_was_refused_is_let_in_without_a_restart(tmp_path: Path) -> None:
    """A file that no longer asks for a certificate holds for the next connection."""
    path = write_configuration(tmp_path, SERVER + CLIENTS)
    with running(web_config_file=path) as server:
        ask_in_vain(connect(server, make_client()))
        exchange_file(path, SERVER)
        assert ask(server, client=make_client()).body == PLAIN


@pytest.mark.parametrize("before", ["", SERVER, SERVER + CLIENTS], ids=["http", "https", "other"])
def test_stricter_rules_hold_for_connections_that_are_open(tmp_path: Path, before: str) -> None:
    """Who came in without TLS, a certificate, or by another authority has to come in anew."""
    path = write_configuration(tmp_path, before or "{}\n")
    known, authority = issue("prometheus.example"), trustme.CA()
    with running(web_config_file=path) as server:
        connection = connect(server, known if before else None)
        assert exchange(connection).body == PLAIN
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        exchange_file(path, SERVER + CLIENTS)
        ask_in_vain(connection)
        ask_in_vain(connect(server, known))
        newcomer = make_client(authority.issue_cert("prometheus.example"))
        assert ask(server, client=newcomer).body == PLAIN


def test_a_file_that_turned_invalid_closes_the_door_until_it_is_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is let in by a mistake, and nobody has to restart anything after it is corrected."""
    text = SERVER + USERS
    path = write_configuration(tmp_path, text)
    with running(web_config_file=path, open_paths=["/-/healthy"]) as server:
        connection = connect(server, make_client())
        with closing(connection):
            assert exchange(connection, headers=ALICE).status == 200
            exchange_file(path, text + BROKEN)
            for target in PATHS:
                answer = exchange(connection, target, ALICE)
                assert (answer.status, answer.body) == (500, b"Internal Server Error\n")
                assert ask(server, target, client=make_client()).status == 500
            (complaint,) = [each for each in caplog.messages if str(path) in each]
            assert complaint.endswith("Every request is refused until that is corrected.")
            exchange_file(path, text)
            assert exchange(connection, headers=ALICE).body == PLAIN
            assert exchange(connection).status == 401
