"""Compare served pages with prometheus_client's own server, from the request to the last byte.

The servers live at once, each in a process of its own, and a client in another asks them in
turns, one request after the other: over one connection where the server keeps it, else over a new
one for each. The pages are compared before anything is timed. The peer's registry holds families
that are ready, so that it only has to write them; the other peer reads the directory as we do.
"""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from benchmarks.deployment import hold_workers
from benchmarks.scrape import samples_of

ROOT = Path(__file__).resolve().parent.parent
VIEWS = 200
ROUNDS = 4
SECONDS = 0.7
CODINGS = ("gzip", "identity")
GOALS = {"gzip": 5.0, "identity": 1.0}
TITLES = {
    "ours": "runmetrics",
    "registry": "start_http_server, registry",
    "directory": "start_http_server, directory",
}
# A registry is of one process, so that against the values of many it has less to do than we have.
DEPLOYMENTS = {1: ("ours", "registry"), 16: ("ours", "registry", "directory")}


class Ready(Collector):
    """Families that have been collected already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def serve(side: str, directory: str) -> None:
    """Be a peer until killed."""
    registry = CollectorRegistry(support_collectors_without_names=True)
    if side == "registry":
        collector = MultiProcessCollector(None, directory)  # type: ignore[no-untyped-call]
        registry.register(Ready(collector.collect()))  # type: ignore[no-untyped-call]
    else:
        MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    server, thread = start_http_server(0, "127.0.0.1", registry)
    print(f"Serving http://127.0.0.1:{server.server_port}/metrics", flush=True)
    thread.join()


@contextmanager
def start(side: str, directory: Path) -> Iterator[int]:
    """Start the server of a side; yield its port."""
    if side == "ours":
        command = [str(ROOT / "manage.py"), "runmetrics", "--port", "0"]
    else:
        command = ["-m", "benchmarks.http", "serve", side, str(directory)]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMETHEUS_", "DJANGO_"))
    }
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=inherited | {"PROMETHEUS_MULTIPROC_DIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if found := re.search(r"Serving http://[^:]+:(\d+)/", line):
                    yield int(found[1])
                    return
            sys.exit(f"{TITLES[side]} has ended:\n{''.join(lines)}")
        finally:
            process.send_signal(signal.SIGKILL)


class Client:
    """Asks one server for its page, at as little cost as can be."""

    def __init__(self, port: int, coding: str) -> None:
        self._port = port
        self._request = (
            # What the peer has not is left out, which itself does not know how.
            "GET /metrics?collect[]=value_files HTTP/1.1\r\nHost: localhost\r\n"
            "Accept: text/plain; version=0.0.4\r\n"
            f"Accept-Encoding: {coding}\r\n\r\n"
        ).encode()
        self._socket: socket.socket | None = None

    def fetch(self) -> bytes:
        """Return the body of an answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.sendall(self._request)
        answer = bytearray()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._receive(1 << 16)
        head = bytes(answer[:end]).lower()
        assert b" 200 " in head.split(b"\r\n")[0], head
        found = re.search(rb"\r\ncontent-length: (\d+)", head)
        assert found is not None, head
        length = end + 4 + int(found[1])
        while len(answer) < length:
            answer += self._receive(1 << 20)
        if head.startswith(b"http/1.0"):
            self.close()
        return bytes(answer[end + 4 :])

    def _receive(self, most: int) -> bytes:
        assert self._socket is not None
        part = self._socket.recv(most)
        assert part, "the connection was closed in the middle of an answer"
        return part

    def close(self) -> None:
        """Leave."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def ask(port: str, coding: str) -> None:
    """Print how many milliseconds each request took, one after the other."""
    client = Client(int(port), coding)
    client.fetch()
    end = time.perf_counter() + SECONDS
    times = []
    while (begin := time.perf_counter()) < end:
        client.fetch()
        times.append((time.perf_counter() - begin) * 1000)
    client.close()
    print(*times)


def fetch_page(port: int, coding: str) -> bytes:
    """Return a page as it is without compression."""
    client = Client(port, coding)
    body = client.fetch()
    client.close()
    return gzip.decompress(body) if coding == "gzip" else body


def check_equal(ports: dict[str, int]) -> int:
    """Compare the samples of all sides; return the bytes of a page of ours."""
    for coding in CODINGS:
        pages = {side: fetch_page(port, coding) for side, port in ports.items()}
        ours = samples_of(pages["ours"])
        shared = {key: ours[key] for key in ours if not key[0].startswith("django_exporter_")}
        assert all(samples_of(page) == shared for side, page in pages.items() if side != "ours")
    return len(pages["ours"])


def compare(coding: str, ports: dict[str, int]) -> None:
    """Print requests per second and the slowest hundredth of all sides."""
    rates: dict[str, list[float]] = {side: [] for side in ports}
    times: dict[str, list[float]] = {side: [] for side in ports}
    for _ in range(ROUNDS):
        for side, port in ports.items():
            command = [sys.executable, "-m", "benchmarks.http", "ask", str(port), coding]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            taken = [float(each) for each in done.stdout.split()]
            rates[side].append(1000 * len(taken) / sum(taken))
            times[side] += taken
    ours = median(rates["ours"])
    print(f"\n{coding:32}{'requests/s':>12}{'p99, ms':>10}{'n':>7}   ours against it")
    for side in ports:
        slowest = quantiles(times[side], n=100, method="inclusive")[-1]
        row = f"  {TITLES[side]:30}{median(rates[side]):12.1f}{slowest:10.1f}{len(times[side]):7}"
        ratio = ours / median(rates[side])
        print(row if side == "ours" else f"{row}   {ratio:.1f} ×, goal {GOALS[coding]:g} ×")


def measure(workers: int, sides: Iterable[str]) -> None:
    """Start all servers of a deployment, compare their pages, and measure."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(hold_workers(Path(folder), workers, VIEWS))
        ports = {side: stack.enter_context(start(side, Path(folder))) for side in sides}
        size = check_equal(ports) / 1e6
        print(f"\nworkers: {workers}; {VIEWS} views × 2 methods, a page of {size:.2f} MB")
        for coding in CODINGS:
            compare(coding, ports)


def main() -> None:
    """Measure every deployment."""
    for workers, sides in DEPLOYMENTS.items():
        measure(workers, sides)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", side, directory]:
            serve(side, directory)
        case ["ask", port, coding]:
            ask(port, coding)
        case _:
            main()
