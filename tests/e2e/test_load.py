"""Under load every count is exact: as many as the clients themselves counted, no more, no less."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

import django
import psutil
import pytest

from tests.e2e.traffic import MIX, Kind, assert_exact, wait_for_web
from tests.processes import (
    BIN,
    Samples,
    Started,
    exporter,
    free_port,
    sample,
    scrape,
    started,
    wait_until,
)

logger = logging.getLogger(__name__)

SECONDS = float(os.environ.get("LOAD_SECONDS", "4"))
CONNECTIONS = 32
WORKERS = 8
THREADS = 4
BETWEEN_KILLS = 200
KILLS = 3
WAVES = 4
WAITING = 40
# Each has a body of a length that is said, so that a client need not know more of HTTP.
KINDS = [kind for kind in MIX if kind.method == "GET" and kind.view != "shop:report"]

URLS = """
import asyncio

from django.http import HttpResponse
from django.urls import path
from prometheus_client import Counter

waiting = Counter("test_waiting", "Requests that wait.")


async def hello(request):
    return HttpResponse("hello")


async def wait(request):
    waiting.inc()
    await asyncio.sleep(600)


urlpatterns = [path("about/", hello, name="hello"), path("wait/", wait, name="wait")]
"""
SETTINGS = "from project.settings import *\nROOT_URLCONF = 'load_urls'\n"


@dataclass
class Load:
    """What clients count: requests that were answered, and those whose connection broke."""

    answered: Counter[Kind] = field(default_factory=Counter)
    broken: Counter[Kind] = field(default_factory=Counter)


def send_load(port: int, kinds: list[Kind], has_ended: Callable[[], bool]) -> Load:
    """Send requests over many connections that stay open, each with its next when answered."""
    load = Load()

    async def send_all() -> None:
        clients = (keep_sending(port, kinds, has_ended, load) for _ in range(CONNECTIONS))
        await asyncio.gather(*clients)

    asyncio.run(send_all())
    return load


def time_is_up() -> Callable[[], bool]:
    """Return what tells whether the load has lasted long enough, from now on."""
    until = monotonic() + SECONDS
    return lambda: monotonic() >= until


async def keep_sending(
    port: int, kinds: list[Kind], has_ended: Callable[[], bool], load: Load
) -> None:
    """Be one client; connect anew where the server has closed the connection."""
    while not has_ended():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            continue
        try:
            stays_open = True
            while stays_open and not has_ended():
                kind = random.choice(kinds)
                try:
                    stays_open = await send_one(reader, writer, kind)
                    load.answered[kind] += 1
                except (OSError, asyncio.IncompleteReadError):
                    load.broken[kind] += 1
                    break
        finally:
            writer.close()


async def send_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Kind) -> bool:
    """Send a request and read the whole answer; return whether the connection stays open."""
    writer.write(f"{kind.method} {kind.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    await reader.readexactly(int(headers["content-length"]))
    assert int(first.split()[1]) == kind.status, kind
    return headers.get("connection") != "close"


@contextmanager
def gunicorn(environment: dict[str, str], *options: str) -> Iterator[tuple[Started, int]]:
    """Serve the shop by eight workers of four threads each; yield the master and the port."""
    port = free_port()
    command: list[str | Path] = [BIN / "gunicorn", "project.wsgi", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), *options]
    with started(command, environment) as master:
        yield master, port


def assert_none_in_flight(samples: Samples) -> None:
    """Every request has left."""
    assert sample(samples, "django_http_requests_in_flight") == 0


def count_responses(samples: Samples, kind: Kind) -> float:
    """Return how often a kind was answered, as the exporter says."""
    status, view, method = kind.labels
    name = "django_http_responses_total_by_status_view_method_total"
    return sample(samples, name, status=status, view=view, method=method) or 0.0


def by_labels(counts: Counter[Kind]) -> Counter[Kind]:
    """Put kinds that the metrics cannot tell apart together."""
    first: dict[tuple[str, str, str], Kind] = {}
    together: Counter[Kind] = Counter()
    for kind, count in counts.items():
        together[first.setdefault(kind.labels, kind)] += count
    return together


def test_counts_under_load_are_what_the_clients_counted(environment: dict[str, str]) -> None:
    """Eight workers of four threads lose no request and count none twice."""
    with exporter(environment) as (_, url), gunicorn(environment) as (_, port):
        sent = wait_for_web(port)
        load = send_load(port, KINDS, time_is_up())
        logger.info("%d requests in %g s", load.answered.total(), SECONDS)
        assert not load.broken
        samples = scrape(url)
        assert_exact(samples, sent + load.answered)
        assert_none_in_flight(samples)


def test_workers_that_end_under_load_lose_nothing_that_was_answered(
    environment: dict[str, str],
) -> None:
    """Workers are recycled all the time, and some killed: what clients were told is counted."""
    options = ("--max-requests", "30", "--max-requests-jitter", "20")
    with (
        exporter(environment) as (_, url),
        gunicorn(environment, *options) as (master, port),
        ThreadPoolExecutor(1) as pool,
    ):
        sent = wait_for_web(port)
        ended = threading.Event()
        running = pool.submit(send_load, port, KINDS, ended.is_set)
        long_enough, killed = time_is_up(), 0
        try:
            while not running.done() and (killed < KILLS or not long_enough()):
                killed += kill_one(master)
                enough = sum_responses(scrape(url)) + BETWEEN_KILLS
                wait_until(partial(has_answered, url, enough, running))
        finally:
            ended.set()
        load = running.result()
        counts = load.answered.total(), load.broken.total(), killed
        logger.info("%d answered, %d broken, %d workers killed", *counts)
        samples = wait_until(lambda: settled(url), lambda: tell_unsettled(url, master))
        answered, broken = by_labels(sent + load.answered), by_labels(load.broken)
        for kind in answered:
            counted = count_responses(samples, kind)
            most = answered[kind] + broken.total()
            assert answered[kind] <= counted <= most, kind
        assert sum_responses(samples) <= answered.total() + broken.total()


def sum_responses(samples: Samples) -> float:
    """Return all responses so far."""
    return sample(samples, "django_http_responses_before_middlewares_total") or 0.0


def has_answered(url: str, enough: float, running: Future[Load]) -> bool:
    """Tell whether so many requests were answered, or no more will come."""
    return running.done() or sum_responses(scrape(url)) >= enough


def settled(url: str) -> Samples | None:
    """Return the samples once no request is in flight."""
    samples = scrape(url)
    # Where every worker was replaced since the last request, none of those that live has had one.
    return None if sample(samples, "django_http_requests_in_flight") else samples


def tell_unsettled(url: str, master: Started) -> str:
    """Return what a reader needs who wonders why requests stay in flight."""
    samples = scrape(url)
    kept = {
        key: value
        for key, value in samples.items()
        if key[0].startswith(("django_exporter_", "django_http_requests_in_flight"))
    }
    workers = [each.as_dict(["pid", "status"]) for each in psutil.Process(master.pid).children()]
    return f"{kept}\n{workers}\n{master.output}"


def kill_one(master: Started) -> bool:
    """Kill a worker, if there is one at this moment."""
    workers = psutil.Process(master.pid).children()
    if not workers:
        return False
    random.choice(workers).kill()
    return True


@pytest.mark.skipif(django.VERSION < (5, 0), reason="this Django lets views run to their end")
def test_requests_whose_clients_leave_are_counted_as_cancelled(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Waves of clients leave in the middle of slow views, while others are served."""
    (tmp_path / "load_urls.py").write_text(URLS)
    (tmp_path / "load_settings.py").write_text(SETTINGS)
    environment |= {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "load_settings"}
    port = free_port()
    command: list[str | Path] = [BIN / "uvicorn", "project.asgi:application", "--workers", "2"]
    command += ["--port", str(port)]
    hello = Kind("GET", "/about/", 200, "hello")
    with (
        exporter(environment) as (_, url),
        started(command, environment),
        ThreadPoolExecutor(1) as pool,
    ):
        first = wait_for_web(port).total()
        running = pool.submit(send_load, port, [hello], time_is_up())
        for wave in range(1, WAVES + 1):
            asyncio.run(leave_early(port, url, wave * WAITING))
        load = running.result()
        logger.info("%d answered, %d left", load.answered.total(), WAVES * WAITING)
        assert not load.broken
        samples = wait_until(lambda: settled(url))
        cancelled, answered = WAVES * WAITING, first + load.answered.total()
        labels = {"view": "wait", "method": "GET"}
        assert sample(samples, "django_http_requests_cancelled_total", **labels) == cancelled
        assert count_responses(samples, hello) == answered == sum_responses(samples)
        arrived = sample(samples, "django_http_requests_before_middlewares_total")
        assert arrived == answered + cancelled
        statuses = {key: value for key, value in samples.items() if "by_status_total" in key[0]}
        assert list(statuses.values()) == [answered]


async def leave_early(port: int, url: str, arrived: int) -> None:
    """Ask the slow view many times, and leave when so many in all have reached it."""
    writers = []
    for _ in range(WAITING):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /wait/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        writers.append(writer)
    await asyncio.to_thread(
        wait_until, lambda: sample(scrape(url), "test_waiting_total") == arrived
    )
    for writer in writers:
        writer.close()
        await writer.wait_closed()
