"""A port that stays: restarts, rolling restarts, moves that are told, and crowds of exporters."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_ports import free_ports
from tests.ports.sockets import needs_ipv6
from tests.processes import (
    ROOT,
    TIMEOUT,
    Started,
    clean_environment,
    exporter,
    fetch,
    run_manage,
    sample,
    scrape,
    started,
    wait_until,
)

RUNMETRICS: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics"]


def span(ports: list[int]) -> str:
    """Return ports as an option has them."""
    return f"{ports[0]}-{ports[-1]}"


def port_of(url: str) -> int:
    """Return the port of a URL."""
    return urlsplit(url).port or 0


@contextmanager
def load(url: str) -> Iterator[list[int]]:
    """Scrape without a pause, from two clients, whatever happens; yield what was answered."""
    answers: list[int] = []
    ended = threading.Event()
    target = urlsplit(url)

    def ask() -> None:
        # From another address: while nobody listens, the kernel may give a client the very port
        # that it asks, and connect it to itself.
        client = HTTPConnection(target.netloc, timeout=TIMEOUT, source_address=("127.0.0.2", 0))
        while not ended.is_set():
            with closing(client), suppress(OSError, HTTPException):
                client.connect()
                # Ends with a reset: ports that wait for late packets cannot be bound by others.
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0" + bytes(4))
                client.request("GET", target.path)
                answers.append(client.getresponse().status)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for each in clients:
        each.start()
    try:
        yield answers
    finally:
        ended.set()
        for each in clients:
            each.join()


def test_twenty_restarts_under_load_keep_the_port(environment: dict[str, str]) -> None:
    """Neither an orderly end nor SIGKILL, with connections open, makes a range move on."""
    ports = free_ports(5)
    # The second of the range, so that it is the memory that decides and not the order.
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        exporter(environment, "--port-range", span(ports)) as (_, url),
    ):
        first = url
    assert port_of(first) in ports[1:]
    with load(first) as answers:
        for number in range(20):
            before = len(answers)
            with exporter(environment, "--port-range", span(ports)) as (process, url):
                assert url == first
                wait_until(lambda before=before: len(answers) > before)  # type: ignore[misc]
                process.stop(signal.SIGKILL if number % 2 else signal.SIGTERM)
    assert set(answers) <= {200, 503}


def test_a_rolling_restart_hands_the_port_over(environment: dict[str, str]) -> None:
    """The second exporter waits for the first to end, and then serves on the same port."""
    ports = free_ports(3)
    options = ("--port-range", span(ports), "--port-wait", "forever")
    with (
        exporter(environment, *options) as (first, url),
        started([*RUNMETRICS, *options], environment) as second,
    ):
        second.wait_for(f"served already, by pid {first.pid} at {url}. Waiting for its end.")
        assert "Serving http" not in second.output
        assert first.stop() == 0
        assert second.wait_for(r"Serving (http://\S+)")[1] == url
        assert fetch(url)[0] == 200
        assert "moved" not in second.output
        assert second.stop() == 0


def test_a_second_exporter_gives_up_and_says_where_the_first_serves(
    environment: dict[str, str],
) -> None:
    """Where the first one stays, the second exits 1 with its pid and URL, and disturbs nothing."""
    with exporter(environment) as (first, url):
        done = run_manage(environment, "runmetrics", "--port", "0", "--port-wait", "0.5")
        assert done.returncode == 1
        assert f"served already, by pid {first.pid} at {url}" in done.stderr.splitlines()[-2]
        assert "a metrics directory of its own" in done.stderr.splitlines()[-1]
        assert fetch(url)[0] == 200
        checked = json.loads(run_manage(environment, "checkports", "--json").stdout)
        assert "metrics_commands.W028" in {each["id"] for each in checked["findings"]}


def test_a_signal_ends_the_wait_for_a_predecessor(environment: dict[str, str]) -> None:
    """Whoever waits for the first exporter can be told to stop."""
    with exporter(environment), started([*RUNMETRICS, "--port", "0"], environment) as second:
        second.wait_for("Waiting for its end")
        assert second.stop() == 0


def moves(url: str) -> float | None:
    """Return how often the port has changed, as the page says."""
    return sample(scrape(url), "django_exporter_port_moves_total")


def test_a_move_is_told_counted_and_kept(environment: dict[str, str], tmp_path: Path) -> None:
    """Where a stranger has the port, the exporter moves at once, says so, and stays there."""
    ports = free_ports(4)
    target = tmp_path / "targets.json"
    options = ("--port-range", span(ports), "--sd-file", str(target))
    with exporter(environment, *options) as (_, url):
        assert moves(url) == 0
        old = port_of(url)
    with (
        socket.create_server(("127.0.0.1", old)),
        exporter(environment, *options) as (process, url),
    ):
        new = port_of(url)
        assert new != old
        assert f"The port has moved from {old} to {new}" in process.output
        assert f"{old} is taken by pid" in process.output
        assert moves(url) == 1
        assert json.loads(target.read_text())[0]["targets"] == [f"127.0.0.1:{new}"]
        assert process.stop() == 0
    with exporter(environment, *options) as (process, url):
        assert port_of(url) == new
        assert "moved" not in process.output
        assert moves(url) == 1


def test_a_port_that_nobody_listens_on_is_waited_for(environment: dict[str, str]) -> None:
    """What only lingers of a predecessor does not make the exporter move."""
    ports = free_ports(3)
    options = ("--port-range", span(ports), "--port-wait", "forever")
    with exporter(environment, *options) as (_, url):
        pass
    with socket.socket() as lingering:
        lingering.bind(("127.0.0.1", port_of(url)))
        with started([*RUNMETRICS, *options], environment) as process:
            process.wait_for(f"Waiting for port {port_of(url)}, which this exporter had last time")
            lingering.close()
            assert process.wait_for(r"Serving (http://\S+)")[1] == url
            assert process.stop() == 0


@needs_ipv6
def test_several_addresses_are_had_together_or_not_at_all(environment: dict[str, str]) -> None:
    """Both addresses have one port; where one is refused, the other is not left open."""
    both = ("--address", "127.0.0.1", "--address", "::1")
    ports = free_ports(3)
    with exporter(environment, *both, "--port-range", span(ports)) as (process, url):
        other = process.wait_for(r" and (http://\[::1\]:\d+/metrics)")[1]
        assert port_of(url) == int(re.findall(r"\d+", other)[-1])
        assert fetch(url)[0] == fetch(other)[0] == 200
    port = port_of(url)
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        done = run_manage(environment, "runmetrics", *both, "--port", str(port), "--port-wait", "0")
        assert done.returncode == 1
        assert f"[::1]:{port} is taken by pid" in done.stderr
    socket.create_server(("127.0.0.1", port)).close()


def start_crowd(stack: ExitStack, home: Path, ports: list[int], count: int) -> list[Started]:
    """Start so many exporters at once, each with a metrics directory of its own."""
    command = [*RUNMETRICS, "--port-range", span(ports), "--port-wait", "0"]
    return [
        stack.enter_context(started(command, clean_environment(home / str(number))))
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "places"), [(50, 50), (50, 40)])
def test_a_crowd_shares_a_range(tmp_path: Path, count: int, places: int) -> None:
    """Each finds a port of its own, or exits 1 with a line for every port of the range."""
    ports = free_ports(places)
    with ExitStack() as stack:
        crowd = start_crowd(stack, tmp_path, ports, count)
        wait_until(
            lambda: all(
                each.popen.poll() is not None or "Serving" in each.output for each in crowd
            ),
            seconds=120,
        )
        ended = [each for each in crowd if each.popen.poll() is not None]
        urls = [each.wait_for(r"Serving (http://\S+)")[1] for each in crowd if each not in ended]
        assert sorted(map(port_of, urls)) == ports
        assert len(ended) == count - places
        for each in ended:
            assert each.wait() == 1
            for port in ports:
                assert re.search(rf"127\.0\.0\.1:{port} is taken by pid \d+, ", each.output)
            assert "Traceback" not in each.output


def test_checkports_in_a_loop_never_makes_an_exporter_fail(environment: dict[str, str]) -> None:
    """Whoever watches the port with checkports keeps no exporter from it."""
    (port,) = free_ports(1)
    check = (
        f"{sys.executable} {ROOT / 'manage.py'} checkports --port {port} >/dev/null; echo checked"
    )
    with started(["sh", "-c", f"while :; do {check}; done"], environment) as checker:
        for number in range(8):
            wait_until(
                lambda number=number: checker.output.count("checked") > number  # type: ignore[misc]
            )
            with exporter(environment, "--port", str(port), "--port-wait", "0") as (process, url):
                assert port_of(url) == port
                assert process.stop() == 0
