"""The status page of a real deployment: started, and read."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page

from tests.e2e.traffic import send_mix, wait_for_web
from tests.processes import (
    BIN,
    Samples,
    clean_environment,
    exporter,
    fetch,
    free_port,
    sample,
    scrape,
    started,
    wait_until,
)

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
STATUSES = "django_http_responses_total_by_status_view_method_total"


@dataclass(frozen=True)
class Deployment:
    """A shop and its exporter, which could not have the first port of its range."""

    url: str
    web_port: int
    taken_port: int

    @property
    def page(self) -> str:
        """Return where the status page is."""
        return self.url.removesuffix("/metrics")


@contextmanager
def find_two_ports() -> Iterator[tuple[int, int]]:
    """Yield a port that is held, and the next one, which is free."""
    with socket.socket() as held:
        while True:
            port = free_port()
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    held.bind(("127.0.0.1", port))
                    held.listen()
                    break
            except (OSError, OverflowError):
                continue
        yield port, port + 1


@contextmanager
def deployed(home: Path) -> Iterator[Deployment]:
    """Run the shop with some traffic, and an exporter that has been scraped."""
    environment = clean_environment(home)
    web_port = free_port()
    web: list[str | Path] = [BIN / "gunicorn", "project.wsgi", "--workers", "2"]
    web += ["--bind", f"127.0.0.1:{web_port}"]
    with find_two_ports() as (taken, port):
        options = ("--port-range", f"{taken}-{port}")
        with exporter(environment, *options) as (_, url), started(web, environment):
            wait_for_web(web_port)
            send_mix(web_port, 1)
            # One worker may answer all of it while the other still starts.
            wait_until(lambda: sample(scrape(url), "django_workers", role="web") == 2)
            running = Deployment(url, web_port, taken)
            wait_until(lambda: is_complete(running))
            yield running


def is_complete(deployment: Deployment) -> bool:
    """Tell whether the page has all that is looked for in the background."""
    document = json.loads(fetch(f"{deployment.page}/status.json")[2])
    states = {each["state"] for each in document["collectors"]}
    return document["findings"]["age"] is not None and states == {"works"}


def count_by_view(samples: Samples) -> Counter[str]:
    """Return the responses of a scrape by view."""
    counts: Counter[str] = Counter()
    for (name, labels), value in samples.items():
        if name == STATUSES:
            counts[dict(labels)["view"]] += round(value)
    return counts


def read_rows(page: Page, table: str) -> list[list[str]]:
    """Return the texts of a table's rows."""
    return [row.locator("th, td").all_inner_texts() for row in page.locator(f"#{table} tr").all()]
