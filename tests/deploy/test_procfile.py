"""Web server and exporter in one container, as on platforms where each line is a container."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.traffic import assert_exact, send_mix, wait_for_web
from tests.processes import BIN, TIMEOUT, Started, free_port, scrape, started, wait_until

from .documents import DEPLOY, PAGE

LINES = [*re.findall(r"^web: (.*)$", PAGE, re.MULTILINE)]
SERVING = r"Serving (http://\S+)"


@contextmanager
def platform(environment: dict[str, str], line: str) -> Iterator[tuple[Started, int]]:
    """Run a line as a platform does, without a shell; yield it with the web server's port."""
    port = free_port()
    program, *rest = line.split()
    with started([BIN / program, *rest], environment | {"PORT": str(port)}) as container:
        yield container, port


def find_child(container: Started, word: str) -> psutil.Process:
    """Wait for a direct child with a word in its command line, and return it."""

    def look() -> psutil.Process | None:
        for each in psutil.Process(container.pid).children():
            if each.status() != psutil.STATUS_ZOMBIE and any(
                word in part for part in each.cmdline()
            ):
                return each
        return None

    return wait_until(look)


def test_the_procfile_has_the_line_of_the_page() -> None:
    """What the page shows first is the file to copy, and there is one line with honcho."""
    assert (DEPLOY / "procfile" / "Procfile").read_text() == f"web: {LINES[0]}\n"
    assert [each.split()[0] for each in LINES] == ["python", "honcho"]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split()[0])
def test_one_line_runs_both(environment: dict[str, str], line: str) -> None:
    """All requests are on the exporter's page, and one signal ends the container in order."""
    with platform(environment, line) as (container, port):
        url = container.wait_for(SERVING)[1]
        sent = wait_for_web(port) + send_mix(port, 1)
        assert_exact(scrape(url), sent)
        below = psutil.Process(container.pid).children(recursive=True)
        assert container.stop() in (0, 128 + signal.SIGTERM)
        assert psutil.wait_procs(below, TIMEOUT)[1] == []


def test_an_exporter_that_ends_is_started_again(environment: dict[str, str]) -> None:
    """The web server serves on meanwhile, and no count is lost."""
    with platform(environment, LINES[0]) as (container, port):
        container.wait_for(SERVING)
        sent = wait_for_web(port) + send_mix(port, 1)
        find_child(container, "runmetrics").kill()
        sent += send_mix(port, 1)
        url = container.wait_for(rf"{SERVING}(?:.|\n)*{SERVING}")[2]
        assert_exact(scrape(url), sent)


def test_the_container_ends_with_the_web_server(environment: dict[str, str]) -> None:
    """The exporter ends after it, and in order."""
    with platform(environment, LINES[0]) as (container, port):
        container.wait_for(SERVING)
        wait_for_web(port)
        find_child(container, "gunicorn").terminate()
        assert container.wait() == 0
        container.wait_for("Ended by a signal")


def test_the_platform_learns_how_the_web_server_ended(environment: dict[str, str]) -> None:
    """The container's exit code is the web server's."""
    with platform(environment | {"GUNICORN_CMD_ARGS": "--nonsense"}, LINES[0]) as (container, _):
        assert container.wait() == 2


def test_an_exporter_that_cannot_serve_costs_the_shop_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """With a wrong configuration the exporter says so, and the shop serves."""
    wrong = environment | {"PROMETHEUS_METRICS_EXPORT_PORT": "many"}
    with platform(wrong, LINES[0]) as (container, port):
        container.wait_for("PROMETHEUS_METRICS_EXPORT_PORT")
        wait_for_web(port)
        assert container.stop() == 0
