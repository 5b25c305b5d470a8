"""Start real processes, wait for what they say, and leave none behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import TypeVar

import psutil
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TIMEOUT = 30.0

T = TypeVar("T")

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, Labels], float]


def free_port() -> int:
    """Return a port that the kernel says is free on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Return an environment for a process of its own, whose data lies below ``home``."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROMETHEUS_", "PYTEST", "DJANGO_")) and name != "PORT"
    }
    return inherited | {
        "DATA_DIR": str(home),
        "HOME": str(home),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


def run(
    arguments: Sequence[str | Path],
    environment: dict[str, str],
    *,
    cwd: Path = ROOT,
    user: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it wrote."""
    return subprocess.run(
        [str(each) for each in arguments],
        env=environment,
        cwd=cwd,
        user=user,
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def run_manage(
    environment: dict[str, str], *arguments: str, user: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of the project that ships."""
    return run([sys.executable, ROOT / "manage.py", *arguments], environment, user=user)


@dataclass
class Started:
    """A process that runs, and the lines it has written so far."""

    popen: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Return its pid."""
        return self.popen.pid

    @property
    def output(self) -> str:
        """Return all it has written."""
        return "".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until its output matches, and return the match."""

        def look() -> re.Match[str] | None:
            if self.popen.poll() is not None and not re.search(pattern, self.output):
                self._reader.join(TIMEOUT)
                assert re.search(pattern, self.output), f"ended without {pattern}: {self.output}"
            return re.search(pattern, self.output)

        return wait_until(look, lambda: f"no {pattern} in: {self.output}")

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        code = self.popen.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.popen.send_signal(number)
        return self.wait()

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line)


@contextmanager
def started(
    arguments: Sequence[str | Path],
    environment: dict[str, str],
    *,
    cwd: Path = ROOT,
    user: int | None = None,
) -> Iterator[Started]:
    """Start a program in a session of its own, and end all of it afterwards."""
    popen = subprocess.Popen(
        [str(each) for each in arguments],
        env=environment,
        cwd=cwd,
        user=user,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    process = Started(popen)
    try:
        yield process
    finally:
        kill_tree(popen.pid)
        popen.wait(TIMEOUT)
        process._reader.join(TIMEOUT)
        assert popen.stdout is not None
        popen.stdout.close()


def kill_tree(pid: int) -> None:
    """Kill a process, all below it, and what is left of its session."""
    try:
        tree = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    # A Procfile runner gives each of its children a session of its own.
    for group in (pid, *(each.pid for each in tree)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for each in tree:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(tree, TIMEOUT)


@contextmanager
def exporter(environment: dict[str, str], *options: str) -> Iterator[tuple[Started, str]]:
    """Start runmetrics, by default on a port of the kernel's; yield it with its URL."""
    chosen = options if any("--port" in each for each in options) else ("--port", "0", *options)
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics", *chosen]
    with started(command, environment) as process:
        url = process.wait_for(r"Serving (http://\S+)")[1]
        yield process, url


def wait_until(
    condition: Callable[[], T | None],
    explain: Callable[[], str] = lambda: "it never came true",
    seconds: float = TIMEOUT,
) -> T:
    """Ask again and again until the condition holds; return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        # A process that ends while it is looked at is no answer yet.
        with suppress(psutil.NoSuchProcess):
            if result := condition():
                return result
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def fetch(
    url: str, method: str = "GET", data: bytes | None = None, **headers: str
) -> tuple[int, Message, bytes]:
    """Return status, headers and body of an answer, whatever the status."""
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def parse_samples(page: str) -> Samples:
    """Return the samples of a page, by name and labels; a repeated one is an error."""
    samples: Samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, f"{key} is on the page twice"
            samples[key] = sample.value
    return samples


def scrape(url: str) -> Samples:
    """Return the samples that an exporter serves."""
    status, _, body = fetch(url)
    assert status == 200, body
    return parse_samples(body.decode())


def sample(samples: Samples, name: str, **labels: str) -> float | None:
    """Return one sample's value, or None."""
    return samples.get((name, frozenset(labels.items())))
