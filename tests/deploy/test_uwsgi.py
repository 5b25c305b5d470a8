"""The shop under a real uWSGI, whose workers fork without telling Python."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.traffic import assert_exact, send_mix, wait_for_web
from tests.processes import BIN, Started, exporter, free_port, sample, scrape, started, wait_until

from .documents import read_example

pytestmark = pytest.mark.skipif(not (BIN / "uwsgi").exists(), reason="uWSGI is not installed")

WORKERS = 2
EXAMPLE = "127.0.0.1:8000"
COUNTS = ("django_workers", "django_worker_starts_total", "django_worker_deaths_total")


@contextmanager
def uwsgi(
    environment: dict[str, str], home: Path, *options: str, without: tuple[str, ...] = ()
) -> Iterator[tuple[Started, int]]:
    """Start uWSGI as the page says, with more lines or fewer; yield it with its port."""
    port = free_port()
    example = read_example("ini")
    assert EXAMPLE in example
    lines = example.replace(EXAMPLE, f"127.0.0.1:{port}").splitlines()
    kept = [each for each in lines if each.partition(" ")[0] not in without]
    more = [f"home = {BIN.parent}", "disable-logging = true", *options]
    (home / "uwsgi.ini").write_text("\n".join([*kept, *more]))
    with started([BIN / "uwsgi", "--ini", home / "uwsgi.ini"], environment) as server:
        yield server, port


def list_workers(server: Started) -> list[psutil.Process]:
    """Return the workers that live."""
    below = psutil.Process(server.pid).children()
    return [each for each in below if each.status() != psutil.STATUS_ZOMBIE]


def kill_one(server: Started) -> None:
    """Kill a worker, and wait for the one that takes its place."""
    before = list_workers(server)
    assert len(before) == WORKERS
    before[0].kill()
    wait_until(lambda: before[0] not in (now := list_workers(server)) and len(now) == WORKERS)
    (new,) = set(list_workers(server)) - set(before)
    if "WSGI app 0" in server.output.partition("spawned uWSGI worker 1")[2]:
        # One that loads the application itself is deaf to signals until then.
        server.wait_for(rf"WSGI app 0 .* ready in .* pid: {new.pid} ")


def count_workers(url: str) -> tuple[float | None, ...]:
    """Return how many workers of the web live, began and died."""
    samples = scrape(url)
    return tuple(sample(samples, name, role="web") for name in COUNTS)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("enable-threads = true",),
        ("threads = 4",),
        ("lazy-apps = true",),
        ("lazy-apps = true", "threads = 4"),
        ("py-call-osafterfork = true", "threads = 4"),
    ],
    ids=", ".join,
)
def test_counts_are_exact(
    environment: dict[str, str], home: Path, options: tuple[str, ...]
) -> None:
    """Each request counts once, also when workers are killed, replaced and reloaded."""
    with (
        exporter(environment) as (_, url),
        uwsgi(environment, home, *options, without=("threads",)) as (server, port),
    ):
        sent = wait_for_web(port) + send_mix(port, 2)
        assert_exact(scrape(url), sent)
        for _ in range(2):
            kill_one(server)
            sent += send_mix(port, 1)
            assert_exact(scrape(url), sent)
        server.popen.send_signal(signal.SIGHUP)
        server.wait_for(r"gracefully \(RE\)spawned uWSGI master(.|\n)*spawned uWSGI worker 2")
        sent += wait_for_web(port) + send_mix(port, 1)
        assert_exact(scrape(url), sent)
        # A request is in flight until its response is closed, which its client does not see.
        wait_until(lambda: sample(scrape(url), "django_http_requests_in_flight") == 0)
        assert server.stop() == 0
        assert_exact(scrape(url), sent)


@pytest.mark.parametrize("loading", ["", "lazy-apps = true"])
def test_workers_are_counted_and_the_master_is_not(
    environment: dict[str, str], home: Path, loading: str
) -> None:
    """One that is killed has died, and the one in its place has begun."""
    with (
        exporter(environment) as (_, url),
        uwsgi(environment, home, loading) as (server, port),
    ):
        # One that was forked begins with its first request.
        wait_for_web(port)
        wait_until(lambda: send_mix(port, 1) and count_workers(url) == (2, 2, 0))
        kill_one(server)
        wait_until(lambda: send_mix(port, 1) and count_workers(url) == (2, 3, 1))
        server.stop()
        assert count_workers(url) == (0, 3, 3)


@pytest.mark.parametrize("processes", [1, 2])
def test_counts_are_exact_without_a_master(
    environment: dict[str, str], home: Path, processes: int
) -> None:
    """The process that loads the application serves as well."""
    with (
        exporter(environment) as (_, url),
        uwsgi(environment, home, f"processes = {processes}", without=("master", "processes")) as (
            _,
            port,
        ),
    ):
        sent = wait_for_web(port) + send_mix(port, 1)
        assert_exact(scrape(url), sent)
