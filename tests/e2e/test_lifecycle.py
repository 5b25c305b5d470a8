"""From start to end: what runmetrics says and does as a service, with its web configuration."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import psutil
import pytest

from tests.ports.sockets import needs_ipv6
from tests.processes import (
    ROOT,
    TIMEOUT,
    Started,
    clean_environment,
    free_port,
    run_manage,
    started,
    wait_until,
)
from tests.server.certificates import (
    AUTHORITY,
    SERVER,
    make_client,
    write_certificate,
    write_configuration,
)

RUNMETRICS: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics"]
PASSWORD = "open sesame"
USERS = (
    f"basic_auth_users:\n  alice: {bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n"
)
SLOW_APP = """
import os
from prometheus_client import REGISTRY

class Slow:
    def describe(self):
        return []

    def collect(self):
        print("gathering", flush=True)
        open(os.environ["GATE"]).read()
        return []

REGISTRY.register(Slow())
"""
WRONG = "tls_server_config: {cert_filse: server.pem}\n"


@contextmanager
def serving(environment: dict[str, str], *options: str | Path) -> Iterator[tuple[Started, str]]:
    """Start runmetrics; yield it with its URL."""
    with started([*RUNMETRICS, *options], environment) as process:
        yield process, process.wait_for(r"Serving (https?://\S+)")[1]


def connect(url: str, client: ssl.SSLContext | None = None) -> HTTPConnection:
    """Return a connection that is made at the first request."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    client = client or make_client()
    return HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT, context=client)


def ask(
    url: str,
    target: str = "/metrics",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Message, bytes]:
    """Ask once, by TLS where the URL says so."""
    with closing(connect(url)) as connection:
        connection.request("GET", target, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def find_shown(url: str) -> bytes | None:
    """Return the certificate that a new connection is shown."""
    parts = urlsplit(url)
    opened = socket.create_connection((parts.hostname, parts.port or 0), TIMEOUT)
    with make_client().wrap_socket(opened, server_hostname=parts.hostname) as client:
        return client.getpeercert(binary_form=True)


def read_labels(path: Path) -> dict[str, str]:
    """Return the labels of the only target."""
    (group,) = json.loads(path.read_text())
    labels: dict[str, str] = group["labels"]
    return labels


def authorize(password: str) -> dict[str, str]:
    """Return the header of Basic authentication."""
    token = base64.b64encode(f"alice:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def test_the_start_tells_how_the_door_is_kept(environment: dict[str, str], tmp_path: Path) -> None:
    """Log and target file have the scheme; who runs as root, or shows a key to all, is warned."""
    path, target = write_configuration(tmp_path, SERVER + USERS), tmp_path / "targets.json"
    (tmp_path / "server.key").chmod(0o644)
    options = ("--web-config-file", path, "--sd-file", target)
    with serving(environment, *options) as (process, url):
        assert url.startswith("https://127.0.0.1:")
        assert read_labels(target)["__scheme__"] == "https"
        assert ask(url)[0] == 401
        assert ask(url, headers=authorize(PASSWORD))[0] == 200
        output = process.output
        assert "asks for TLS and users with passwords." in output
        assert f"WARNING: {tmp_path / 'server.key'} can be read by every user" in output
        assert f"{path} can be read" not in output
        assert ("WARNING: Running as root" in output) == (os.geteuid() == 0)
        assert process.stop() == 0


def test_a_signal_renews_certificate_and_target(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """What changed beside a running exporter holds after SIGHUP, also how it is scraped."""
    path, target = write_configuration(tmp_path, SERVER), tmp_path / "targets.json"
    options = ("--web-config-file", path, "--sd-file", target)
    with serving(environment, *options) as (process, url):
        before = find_shown(url)
        write_certificate(tmp_path, "server", AUTHORITY.issue_cert("localhost", "127.0.0.1"))
        target.unlink()
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("Reloaded.")
        wait_until(target.exists)
        assert find_shown(url) not in (None, before)
        path.write_text("{}\n")
        process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "__scheme__" not in read_labels(target))
        assert ask(url.replace("https", "http"))[0] == 200
        path.write_text(WRONG)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("cert_filse is not known.*refused until that is corrected")
        assert ask(url.replace("https", "http"))[0] == 500
        assert process.stop() == 0
        assert process.output.count("Reloaded.") == 2


def test_it_is_not_ready_before_it_ends(tmp_path: Path) -> None:
    """Who balances load is told to go elsewhere while the last scrape is still being answered."""
    (tmp_path / "slow_app").mkdir()
    (tmp_path / "slow_app" / "__init__.py").touch()
    (tmp_path / "slow_app" / "metrics.py").write_text(SLOW_APP)
    (tmp_path / "bare.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['metrics_commands', 'slow_app']\nDATABASES = {}\n"
        # A busy machine may need longer to ask than the exporter waits for its last scrape.
        "from metrics_commands.server import server\nserver.DRAIN_SECONDS = 60.0\n"
    )
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    environment = clean_environment(
        tmp_path, DJANGO_SETTINGS_MODULE="bare", PYTHONPATH=str(tmp_path), GATE=str(gate)
    )
    with serving(environment, "--port", "0") as (process, url), closing(connect(url)) as slow:
        status, headers, _ = ask(url, "/-/ready")
        assert (status, headers["X-Prometheus-Stopping"]) == (200, "false")
        slow.request("GET", "/metrics")
        process.wait_for("gathering")
        process.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(url, "/-/ready")[0] == 503)
        assert ask(url, "/-/ready")[1]["X-Prometheus-Stopping"] == "true"
        assert ask(url, "/-/healthy")[0] == 200
        assert ask(url)[0] == 503
        gate.write_text("go")
        assert slow.getresponse().status == 200
        assert process.wait() == 0


def test_systemd_is_told_every_state(environment: dict[str, str], tmp_path: Path) -> None:
    """A unit of Type=notify-reload with a watchdog follows the exporter from start to end."""
    address = str(tmp_path / "notify")
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(TIMEOUT)
        own = environment | {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}

        def listen_for(line: str) -> str:
            while not told or line not in told[-1].split("\n"):
                told.append(systemd.recv(1000).decode())
            return told[-1]

        with started(RUNMETRICS, own) as process:
            listen_for("READY=1")
            url = process.wait_for(r"Serving (http://\S+)")[1]
            assert ask(url, "/-/ready")[0] == 200
            for _ in range(3):
                listen_for("WATCHDOG=1")
                told.append("")
            process.popen.send_signal(signal.SIGHUP)
            assert "\nMONOTONIC_USEC=" in listen_for("RELOADING=1")
            listen_for("READY=1")
            process.popen.send_signal(signal.SIGTERM)
            listen_for("STOPPING=1")
            assert process.wait() == 0
    states = [each.split("\n")[0] for each in told if each not in ("", "WATCHDOG=1")]
    assert states == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_it_ends_with_its_terminal(environment: dict[str, str]) -> None:
    """Who closes the window leaves no port taken; SIGHUP by itself reloads there as well."""
    spawn: list[str | Path] = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])"]
    with started([*spawn, *RUNMETRICS, "--port", "0"], environment) as terminal:
        url = terminal.wait_for(r"(http://\S+/metrics)\s")[1]
        (process,) = psutil.Process(terminal.pid).children()
        try:
            process.send_signal(signal.SIGHUP)
            terminal.wait_for("Reloaded.")
            assert ask(url)[0] == 200
            terminal.popen.kill()
            wait_until(lambda: is_refused(url))
        finally:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def is_refused(url: str) -> bool:
    """Tell whether nobody listens there."""
    try:
        ask(url)
    except ConnectionRefusedError:
        return True
    except (OSError, HTTPException):
        return False
    return False


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_access_log_has_no_secrets(
    environment: dict[str, str], tmp_path: Path, log_format: str
) -> None:
    """Who asked for what is told; passwords and what follows the path are not."""
    path = write_configuration(tmp_path, USERS)
    options = ("--access-log", "--log-format", log_format, "--web-config-file", path)
    with serving(environment, *options) as (process, url):
        ask(url, "/metrics?name[]=secret", authorize(PASSWORD))
        ask(url, "/nowhere?token=secret", authorize("secret"))
        process.wait_for("/nowhere")
        assert process.stop() == 0
        output = process.output
    for secret in ("secret", PASSWORD, "alice", *authorize(PASSWORD).values()):
        assert secret not in output
    if log_format == "json":
        lines = [json.loads(each) for each in output.splitlines()]
        seen = [
            tuple(each[key] for key in ("peer", "method", "path", "status"))
            for each in lines
            if "peer" in each
        ]
        assert seen == [
            ("127.0.0.1", "GET", "/metrics", 200),
            ("127.0.0.1", "GET", "/nowhere", 401),
        ]
        assert all(each["seconds"] >= 0 for each in lines if "peer" in each)
    else:
        assert re.search(r"INFO: 127\.0\.0\.1 GET /metrics 200 in \d+\.\d+ s", output)
        assert re.search(r"INFO: 127\.0\.0\.1 GET /nowhere 401 in \d+\.\d+ s", output)


@pytest.mark.parametrize("source", ["option", "variable", "setting"])
def test_a_wrong_file_is_one_sentence_wherever_it_is_named(tmp_path: Path, source: str) -> None:
    """Nothing is opened, and nothing written, with a file that cannot be followed."""
    path = write_configuration(tmp_path, WRONG)
    environment = clean_environment(tmp_path, PYTHONPATH=str(tmp_path))
    if source == "setting":
        (tmp_path / "own.py").write_text(
            f"from project.settings import *\nPROMETHEUS_METRICS_WEB_CONFIG_FILE = {str(path)!r}\n"
        )
        environment["DJANGO_SETTINGS_MODULE"] = "own"
    elif source == "variable":
        environment["PROMETHEUS_METRICS_WEB_CONFIG_FILE"] = str(path)
    options = ["--web.config.file", str(path)] if source == "option" else []
    answer = run_manage(environment, "runmetrics", "--port", "0", *options)
    assert (answer.returncode, answer.stdout) == (2, "")
    sentence, hint = answer.stderr.splitlines()
    assert sentence == f"CommandError: {path}:1: tls_server_config.cert_filse is not known."
    assert hint.startswith("Known there: cert, cert_file, ")
    assert not (tmp_path / "metrics").exists()


def test_checkports_finds_it_beforehand(environment: dict[str, str], tmp_path: Path) -> None:
    """What would not start, what everybody may read, and by which URL it will be scraped."""
    path, port = write_configuration(tmp_path, SERVER), free_port()
    (tmp_path / "server.key").chmod(0o644)
    options = ("checkports", "--json", "--port", str(port), "--web.config.file", str(path))
    answer = run_manage(environment, *options)
    document = json.loads(answer.stdout)
    found = {each["id"]: each["severity"] for each in document["findings"]}
    assert found["metrics_commands.W040"] == "warning"
    assert "metrics_commands.W039" not in found
    assert document["urls"] == [f"https://127.0.0.1:{port}/metrics"]
    assert answer.returncode == 0
    path.write_text(WRONG)
    answer = run_manage(environment, *options)
    document = json.loads(answer.stdout)
    (finding,) = [each for each in document["findings"] if each["severity"] == "error"]
    assert finding["id"] == "metrics_commands.W039"
    assert finding["what"] == f"{path}:1: tls_server_config.cert_filse is not known."
    assert (answer.returncode, document["urls"]) == (1, [])


@needs_ipv6
def test_several_addresses_share_one_limit(environment: dict[str, str], tmp_path: Path) -> None:
    """A request counts once, wherever it comes in."""
    path = write_configuration(tmp_path, "rate_limit: {interval: 1h, burst: 3}\n")
    options = ("--address", "127.0.0.1", "--address", "::1", "--web-config-file", path)
    with started([*RUNMETRICS, *options], environment) as process:
        urls = process.wait_for(r"Serving (http://\S+) and (http://\S+)").groups()
        statuses = [ask(url)[0] for url in urls * 2]
    assert statuses == [200, 200, 200, 429]
