"""Under attack every scrape is answered in time, and nothing is left of the attack afterwards."""

from __future__ import annotations

import logging
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from tests.e2e.attacked import (
    ATTACK_SECONDS,
    CASES,
    MEGABYTE,
    Case,
    Exporter,
    attacking,
    make_certificate,
    read_outcome,
    serving,
)
from tests.e2e.attackers import GRACE, Outcome
from tests.processes import wait_until

logger = logging.getLogger(__name__)

SOAK_SCRAPES = int(os.environ.get("SOAK_SCRAPES", "2000"))
SOAK_CLIENTS = 4
# Prometheus' own timeout. How much slower a scrape becomes is measured in benchmarks/attacks.py.
IN_TIME_SECONDS = 10.0
MOST_SOAK_GROWTH = 4 * 2**20
FEW_DESCRIPTORS = 128
# Collectors with an interval of their own are at work at one moment, and not at another.
FEW_THREADS = 8


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a web configuration file with a certificate, and who trusts that."""
    return make_certificate(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_scrapes_are_answered_in_time_under_attack(
    environment: dict[str, str], certificate: tuple[Path, ssl.SSLContext], case: Case
) -> None:
    """Prometheus sees nothing of an attack: no failed scrape, no late one, no memory that stays."""
    path, context = certificate
    options = ("--web-config-file", path) if case.tls else ()
    with serving(environment, *options, context=context if case.tls else None) as exporter:
        exporter.scrape()
        before = exporter.memory
        with attacking(environment, exporter, case, case.seconds) as attack:
            times = exporter.scrape_during(attack)
            outcome = read_outcome(attack)
        logger.info("%s: at most %.3f s; %s", case.kind, max(times), outcome)
        assert max(times) < IN_TIME_SECONDS, times
        assert outcome.opened >= max(case.clients, case.least)
        if case.deadline is not None and case.seconds > case.deadline:
            assert_thrown_out(case, outcome)
        exporter.assert_shrinks_to(case.growth * before)
        assert "Traceback" not in exporter.process.output


def assert_thrown_out(case: Case, outcome: Outcome) -> None:
    """Every slow client was closed, by its deadline as far as a busy machine can tell."""
    if case.kind == "leave_unread":
        # Without reading, these do not see when.
        assert outcome.whole == 0
    else:
        assert case.deadline is not None
        assert outcome.longest <= case.deadline + GRACE
        assert outcome.closed == outcome.opened


def test_an_exporter_without_descriptors_neither_spins_nor_stays_deaf(
    environment: dict[str, str],
) -> None:
    """Clients that take every descriptor cost no processor, fill no log, and then it serves on."""
    case = Case("keep_silent", 3 * FEW_DESCRIPTORS)
    with serving(environment, descriptors=FEW_DESCRIPTORS) as exporter:
        exporter.scrape()
        with attacking(environment, exporter, case, ATTACK_SECONDS) as attack:
            wait_until(lambda: exporter.usage.num_fds() > FEW_DESCRIPTORS / 2)
            start, before = monotonic(), sum(exporter.usage.cpu_times()[:2])
            outcome = read_outcome(attack)
            seconds, spent = monotonic() - start, sum(exporter.usage.cpu_times()[:2]) - before
        logger.info("%.2f s of processor in %.1f s; %s", spent, seconds, outcome)
        assert spent < 0.3 * seconds
        exporter.scrape()
        assert len(exporter.process.lines) < 50
        assert "Traceback" not in exporter.process.output


def keep_scraping(exporter: Exporter, times: int) -> None:
    """Scrape so often in a row, over one connection."""
    with closing(exporter.connect()) as connection:
        for _ in range(times):
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            assert (response.status, len(response.read()) > 0) == (200, True)


def soak(exporter: Exporter, scrapes: int) -> None:
    """Scrape so often in all, by a few clients at once."""
    with ThreadPoolExecutor(SOAK_CLIENTS) as pool:
        times = [scrapes // SOAK_CLIENTS] * SOAK_CLIENTS
        list(pool.map(keep_scraping, [exporter] * SOAK_CLIENTS, times))


def test_scrapes_in_a_row_leave_nothing_behind(environment: dict[str, str]) -> None:
    """After a week of scrapes the exporter has the memory, threads and files of its first hour."""
    with serving(environment, views=10) as exporter:
        soak(exporter, SOAK_SCRAPES // 5)
        usage = exporter.usage
        before = exporter.memory
        threads, descriptors = usage.num_threads(), usage.num_fds()
        soak(exporter, SOAK_SCRAPES)
        logger.info("%+.1f MB after %d", (exporter.memory - before) / MEGABYTE, SOAK_SCRAPES)
        exporter.assert_shrinks_to(before + MOST_SOAK_GROWTH)
        most = threads + FEW_THREADS
        wait_until(lambda: usage.num_threads() <= most, lambda: f"{usage.num_threads()} threads")
        wait_until(lambda: usage.num_fds() <= descriptors, lambda: f"{usage.num_fds()} files")
