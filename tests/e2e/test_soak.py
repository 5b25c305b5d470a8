"""An exporter that is scraped as often as in weeks, while workers come and go, does not grow.

SOAK_SCRAPES says how often.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import pytest

from tests.collectors.gathers import FAILURES
from tests.multiprocess.begun import come_and_go
from tests.multiprocess.somebody import Somebody
from tests.processes import TIMEOUT, Samples, exporter, parse_samples, sample, scrape, wait_until

pytestmark = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux has leases")
SCRAPES = int(os.environ.get("SOAK_SCRAPES", "1000"))
LOOKS = 20
# A list of all scrapes, or a dictionary of all workers, would be more after a hundred thousand.
MOST_BYTES = 4 * 2**20


class Size(NamedTuple):
    """What an exporter takes, and how long its page is."""

    memory: int
    threads: int
    page: int


@contextmanager
def workers_that_come_and_go(home: Path) -> Iterator[list[int]]:
    """Keep three workers that live for a moment; yield where their number will stand."""
    stop, workers = home / "stop", list[int]()
    with Somebody().start(come_and_go, home / "metrics", "web", stop, 3, 0.01) as process:
        try:
            yield workers
        finally:
            stop.touch()
            output, said = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, said.decode()
        workers.append(pickle.loads(output))


def list_errors(samples: Samples) -> list[str]:
    """Return the collectors that have failed."""
    return [
        dict(labels)["collector"]
        for (name, labels), count in samples.items()
        if name == FAILURES and ("reason", "error") in labels and count
    ]


def look_at(url: str, process: psutil.Process) -> Iterator[Size]:
    """Scrape again and again on one connection; yield what the exporter takes, now and then."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)) as client:
        for number in range(1, SCRAPES + 1):
            client.request("GET", "/metrics")
            answer = client.getresponse()
            page = answer.read()
            assert answer.status == 200
            if number % (SCRAPES // LOOKS) == 0:
                assert list_errors(parse_samples(page.decode())) == []
                with process.oneshot():
                    memory, threads = process.memory_info().rss, process.num_threads()
                    yield Size(memory, threads, len(page))


def test_an_exporter_does_not_grow(environment: dict[str, str], home: Path) -> None:
    """Memory, threads and the page stay as they were in the first half; no start is lost."""
    with exporter(environment) as (started, url):
        scrape(url)
        process = psutil.Process(started.pid)
        descriptors = process.num_fds()
        with workers_that_come_and_go(home) as workers:
            sizes = list(look_at(url, process))
        early, late = sizes[: LOOKS // 2], sizes[LOOKS // 2 :]
        before, after = (Size(*map(max, zip(*each, strict=True))) for each in (early, late))
        assert after.memory <= before.memory + MOST_BYTES, sizes
        assert after.threads <= before.threads + 5, sizes
        assert after.page <= before.page + 500, sizes
        assert sample(scrape(url), "django_worker_starts_total", role="web") == workers[0]
        assert workers[0] > SCRAPES / 100
        # What the last workers left is folded by and by.
        wait_until(lambda: scrape(url) and process.num_fds() <= descriptors + 10)
