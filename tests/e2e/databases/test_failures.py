"""Collectors and a PostgreSQL that is down, stops, or stands behind a proxy."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from metrics_commands.collectors import sessions
from metrics_commands.collectors.databases import kept_connections
from tests.collectors.gathers import Scrapes, make_set, scrape, succeeded
from tests.processes import clean_environment, exporter, sample, wait_until
from tests.processes import scrape as scrape_url

from ..asked import ask, run, show
from ..postgresql import Server
from .watching import OURS, look

SETTINGS = """
from project.settings import *
import json, os

DATABASES = {"default": json.loads(os.environ["TEST_DATABASE"])}
"""


class Proxy(socketserver.BaseRequestHandler):
    """Refuse what pgbouncer refuses; hand on all the rest."""

    refusal = b"unsupported startup parameter: options"

    def handle(self) -> None:
        size = self.request.recv(4)
        packet = size + self.request.recv(struct.unpack("!I", size)[0] - 4)
        if struct.unpack("!II", packet[:8]) == (8, 80877103):
            # It has no TLS.
            self.request.sendall(b"N")
            size = self.request.recv(4)
            packet = size + self.request.recv(struct.unpack("!I", size)[0] - 4)
        if b"\0options\0" in packet:
            message = b"SFATAL\0C08P01\0M" + self.refusal + b"\0\0"
            self.request.sendall(b"E" + struct.pack("!I", len(message) + 4) + message)
            return
        port: int = self.server.upstream  # type: ignore[attr-defined]
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            upstream.sendall(packet)
            back = threading.Thread(target=self.copy, args=(upstream, self.request))
            back.start()
            self.copy(self.request, upstream)
            back.join(60)

    def copy(self, source: socket.socket, target: socket.socket) -> None:
        """Hand on one direction until it ends."""
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(upstream: int) -> Iterator[int]:
    """Run a proxy; yield its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as serving:
        vars(serving)["upstream"] = upstream
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield serving.server_address[1]
        finally:
            serving.shutdown()
            thread.join(60)


def test_what_refuses_options_is_asked_without(
    configure: Callable[..., None], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind such a pooler there are numbers, no limits, no SET, and one line in the log."""
    shown: list[Any] = []

    def read() -> bool:
        names = ("application_name", "statement_timeout", "default_transaction_read_only")
        shown.append([ask(f"SHOW {name}") for name in names])
        return True

    with proxy(server.port) as port:
        configure(PORT=str(port))
        for _ in range(2):
            assert run(read)
    assert shown == [["runmetrics", "0", "off"]] * 2
    [record] = caplog.records
    assert "Database served is asked without time limits" in record.getMessage()


def test_a_server_that_stops_in_the_middle_heals(
    configure: Callable[..., None],
    server: Server,
    watcher: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The page is there without what was asked for, and complete when the server is back."""
    # The first query lasts until the server stops, and the later ones do not wait.
    seconds = iter([60])
    collectors = make_set(
        asks=show("asks", lambda: ask(f"SELECT 1 FROM pg_sleep({next(seconds, 0)})")),
        plain=show("plain", lambda: 1),
    )
    monkeypatch.setattr(sessions, "QUERY_SECONDS", 60)
    with kept_connections():
        assert run(lambda: ask("SELECT 1"))
        scrapes = Scrapes(collectors)
        scrapes.begin("asks")
        asleep = f"{OURS} AND wait_event = 'PgSleep'"
        wait_until(lambda: look(watcher, asleep) == 1)
        server.stop()
        try:
            [gathered] = scrapes.end()
            assert gathered.complete
            samples = scrape(collectors)
            assert sample(samples, "plain") == 1
            assert not succeeded(samples, "asks")
        finally:
            server.start()
        assert run(lambda: ask("SELECT 1"))
        assert succeeded(scrape(collectors), "asks")


def test_an_exporter_that_starts_before_its_database_heals(tmp_path: Path, server: Server) -> None:
    """Down it is 0 on a page that is there; up and without tables it is 1, and so says the log."""
    (tmp_path / "unmigrated.py").write_text(SETTINGS)
    environment = clean_environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="unmigrated",
        PYTHONPATH=str(tmp_path),
        TEST_DATABASE=json.dumps(server.settings()),
        PROMETHEUS_METRICS_COUNTED_MODELS="shop.Product",
    )
    name = "django_database_up"
    server.stop()
    try:
        with exporter(environment) as (process, url):
            samples = scrape_url(url)
            assert sample(samples, name, alias="default") == 0
            assert succeeded(samples, "database")
            assert not succeeded(samples, "migrations")
            assert not succeeded(samples, "models")
            server.start()
            wait_until(lambda: sample(scrape_url(url), name, alias="default"))
            process.wait_for("The database default answers again")
    finally:
        server.stop()
        server.start()
