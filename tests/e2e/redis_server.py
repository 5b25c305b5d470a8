"""A Redis or memcached server of the tests' own, on a port of the kernel's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import Started, free_port, started, wait_until

from .conftest import find_program


@contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[tuple[Started, int]]:
    """Start Redis, which keeps nothing on disk; yield it with its port."""
    chosen = free_port() if port is None else port
    program = find_program("redis-server", "redis-server")
    options = ["--port", str(chosen), "--bind", "127.0.0.1", "--dir", str(folder)]
    with started([program, *options, "--save", "", "--appendonly", "no"], {}) as process:
        process.wait_for("Ready to accept connections")
        yield process, chosen


@contextmanager
def memcached_server() -> Iterator[tuple[Started, int]]:
    """Start memcached; yield it with its port."""
    port = free_port()
    program = find_program("memcached", "memcached")
    options = ["-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody", "-m", "8"]
    with started([program, *options], {}) as process:
        wait_until(lambda: accepts(port), lambda: f"memcached is silent: {process.output}")
        yield process, port


def accepts(port: int) -> bool:
    """Tell whether something listens."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
