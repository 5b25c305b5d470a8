"""An exporter with a page of 5 MB, the attacks on it, and who scrapes it meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import psutil
import trustme

from benchmarks.deployment import hold_workers
from metrics_commands.server.handlers import MOST_REQUESTS, WRITE_SECONDS
from metrics_commands.server.lobby import FIRST_REQUEST_SECONDS
from tests.e2e.attackers import DROPS, SPREAD_SECONDS, Outcome
from tests.processes import ROOT, TIMEOUT, Started, started, wait_until

ATTACK_SECONDS = float(os.environ.get("ATTACK_SECONDS", "6"))
VIEWS = 1000
PAGE_BYTES = 5_000_000
# From a deadline to when a client on a busy machine sees it.
MARGIN_SECONDS = 2.0
MEGABYTE = 2**20


@dataclass(frozen=True)
class Case:
    """A kind of attack, how many clients it has, and when the server has to close each of them.

    ``growth`` is how much memory may be left of it, as a multiple of that before.
    """

    kind: str
    clients: int
    deadline: float | None = None
    tls: bool = False
    least: int = 0
    growth: float = 1.2

    @property
    def seconds(self) -> float:
        """Return how long it lasts: beyond its deadline, if that is not far."""
        if self.deadline is None or self.deadline > 2 * ATTACK_SECONDS:
            return ATTACK_SECONDS
        return max(ATTACK_SECONDS, self.deadline + MARGIN_SECONDS)


CASES = [
    Case("drip", 1000, FIRST_REQUEST_SECONDS),
    Case("keep_silent", 300, FIRST_REQUEST_SECONDS, tls=True),
    Case("leave_unread", 200, SPREAD_SECONDS + WRITE_SECONDS),
    Case("drop", 250, least=250 * DROPS),
    Case("babble", 100),
    Case("flood", 50),
    # As many as there may be beside a scrape and one more; each holds the numbers of its moment,
    # whose small blocks Python does not all give back, however often it is repeated.
    Case("choose", MOST_REQUESTS - 2, growth=1.5),
]


@dataclass
class Exporter:
    """A running exporter, and how to ask it."""

    process: Started
    url: str
    context: ssl.SSLContext | None
    usage: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self.usage = psutil.Process(self.process.pid)

    @property
    def port(self) -> int:
        """Return its port."""
        return urlsplit(self.url).port or 0

    @property
    def memory(self) -> int:
        """Return its resident bytes."""
        return int(self.usage.memory_info().rss)

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, made with the first request."""
        if self.context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=TIMEOUT, context=self.context
        )

    def scrape(self) -> float:
        """Read the whole page over a connection of its own; return how many seconds it took."""
        start = monotonic()
        with closing(self.connect()) as connection:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            body = response.read()
        assert response.status == 200, body
        assert len(body) > PAGE_BYTES
        return monotonic() - start

    def scrape_during(self, attack: Started) -> list[float]:
        """Scrape every second until the attack is over; return how long each took."""
        times = []
        while attack.popen.poll() is None:
            times.append(self.scrape())
            with suppress(subprocess.TimeoutExpired):
                attack.popen.wait(max(0.0, 1.0 - times[-1]))
        return times

    def assert_shrinks_to(self, most: float) -> None:
        """Wait until it has given memory back."""
        wait_until(
            lambda: self.memory <= most,
            lambda: f"{self.memory / MEGABYTE:.0f} MB, not {most / MEGABYTE:.0f}",
        )


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a web configuration file with a certificate, and who trusts that."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "key.pem").chmod(0o600)
    path = folder / "web.yml"
    path.write_text("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return path, context


@contextmanager
def serving(
    environment: dict[str, str],
    *options: str | Path,
    context: ssl.SSLContext | None = None,
    descriptors: int | None = None,
    views: int = VIEWS,
) -> Iterator[Exporter]:
    """Serve the values of two living workers of so many views."""
    directory = Path(environment["HOME"]) / "metrics"
    directory.mkdir()
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics", *options]
    if descriptors is not None:
        command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(descriptors), *command]
    environment = environment | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    with hold_workers(directory, 2, views), started(command, environment) as process:
        url = process.wait_for(r"Serving (https?://\S+)")[1]
        yield Exporter(process, url, context)


@contextmanager
def attacking(
    environment: dict[str, str], exporter: Exporter, case: Case, seconds: float
) -> Iterator[Started]:
    """Attack in a process of its own, which ends by itself."""
    command = [sys.executable, "-m", "tests.e2e.attackers", case.kind]
    command += [str(each) for each in (exporter.port, case.clients, seconds)]
    with started(command, environment) as process:
        process.wait_for("attacking\n")
        yield process


def read_outcome(attack: Started) -> Outcome:
    """Return what the attackers saw, once they have left."""
    return Outcome(**json.loads(attack.wait_for(r"outcome (.*)\n")[1]))
