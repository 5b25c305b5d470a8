"""Customers of the shop: now more of them, now fewer, and for a while one page is broken."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.e2e.traffic import Kind, send
from tests.processes import fetch

CUSTOMERS = 4
# Seconds between two requests of one customer, and after which all begins again.
PAUSE, PERIOD = 0.03, 60.0
VISITS = {
    Kind("GET", "/", 200): 45,
    Kind("GET", "/about/", 200): 20,
    Kind("GET", "/stock/", 200): 15,
    Kind("GET", "/report/", 200): 12,
    Kind("GET", "/products/999/", 404): 5,
}
BROKEN = Kind("GET", "/broken/", 500)
# The share of visits to the page that always fails, and what it is for a tenth of the time.
USUALLY_BROKEN, BADLY_BROKEN = 0.002, 0.06


@contextmanager
def customers(port: int) -> Iterator[None]:
    """Let customers visit the shop until the block ends."""
    start = time.monotonic()
    with running([lambda ended: shop_until(ended, port, start)] * CUSTOMERS):
        yield


@contextmanager
def scraping(metrics: str) -> Iterator[None]:
    """Let somebody scrape, once a second, until the block ends."""
    with running([lambda ended: scrape_until(ended, metrics)]):
        yield


@contextmanager
def running(bodies: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Run each in a thread, until the block ends."""
    ended = threading.Event()
    threads = [threading.Thread(target=each, args=(ended,)) for each in bodies]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in threads:
            each.join()


def shop_until(ended: threading.Event, port: int, start: float) -> None:
    """Visit one page after the other."""
    turn = 0.0
    while not ended.wait(PAUSE / (1 + 0.5 * math.sin(2 * turn) + 0.2 * math.sin(7 * turn))):
        turn = 2 * math.pi * (time.monotonic() - start) / PERIOD
        send(port, choose(turn))


def scrape_until(ended: threading.Event, metrics: str) -> None:
    """Ask for the metrics, once a second."""
    while not ended.wait(1.0):
        fetch(metrics)


def choose(turn: float) -> Kind:
    """Return the next visit."""
    chance = random.random()
    if chance < (BADLY_BROKEN if math.sin(turn - 2) > 0.95 else USUALLY_BROKEN):
        return BROKEN
    if chance > 0.9:
        seconds = 0.03 + 0.12 * chance * (1 + math.sin(3 * turn)) * random.random()
        return Kind("GET", f"/slow/?seconds={seconds:.3f}", 200)
    return random.choices(list(VISITS), list(VISITS.values()))[0]
