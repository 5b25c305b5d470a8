"""The main job: several real web workers, one exporter, and every number exact."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.traffic import assert_exact, send_mix, wait_for_web
from tests.processes import (
    BIN,
    TIMEOUT,
    Started,
    clean_environment,
    exporter,
    free_port,
    sample,
    scrape,
    started,
    wait_until,
)

WORKERS = 4


@contextmanager
def procfile(environment: dict[str, str], **extra: str) -> Iterator[tuple[Started, int, str]]:
    """Run the Procfile; yield the runner, the shop's port and the metrics' URL."""
    port = free_port()
    with started([BIN / "honcho", "start"], environment | {"PORT": str(port)} | extra) as honcho:
        url = honcho.wait_for(r"Serving (http://\S+)")[1]
        yield honcho, port, url


def list_workers(runner: Started) -> list[psutil.Process]:
    """Return the gunicorn workers below a Procfile runner."""
    below = psutil.Process(runner.pid).children(recursive=True)
    gunicorn = [each for each in below if any("gunicorn" in part for part in each.cmdline())]
    masters = {each.pid for each in gunicorn}
    return [each for each in gunicorn if each.ppid() in masters and not each.children()]


@pytest.mark.parametrize("arguments", ["", "--preload"], ids=["plain", "preload"])
def test_counts_of_four_workers_are_exact(environment: dict[str, str], arguments: str) -> None:
    """A thousand requests are on one page, and stay there when a worker is killed and replaced."""
    with procfile(environment, GUNICORN_CMD_ARGS=arguments) as (honcho, port, url):
        sent = wait_for_web(port) + send_mix(port, 10)
        assert_exact(scrape(url), sent)

        before = list_workers(honcho)
        assert len(before) == WORKERS
        before[0].send_signal(signal.SIGKILL)
        before[0].wait(TIMEOUT)
        wait_until(lambda: len(list_workers(honcho)) == WORKERS)
        assert_exact(scrape(url), sent)

        sent += send_mix(port, 2)
        assert_exact(scrape(url), sent)


def test_exporter_without_a_port_leaves_the_web_process_up(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Under a Procfile runner an exporter that finds no port keeps trying, and the shop lives."""
    taken = free_port()
    with exporter(clean_environment(tmp_path / "other"), "--port", str(taken)) as (first, _):
        crowded = environment | {"PROMETHEUS_METRICS_EXPORT_PORT": str(taken)}
        port = free_port()
        with started([BIN / "honcho", "start"], crowded | {"PORT": str(port)}) as honcho:
            honcho.wait_for(rf"taken by pid {first.pid}.*waiting for it")
            wait_for_web(port)
            assert first.stop() == 0
            honcho.wait_for(rf"Serving http://127.0.0.1:{taken}/metrics")
            assert honcho.stop() in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    "server",
    [
        ("uvicorn", "project.asgi:application", "--workers", "4", "--port", "{port}"),
        (
            *("gunicorn", "project.asgi", "--worker-class", "uvicorn_worker.UvicornWorker"),
            *("--workers", "4", "--bind", "127.0.0.1:{port}"),
        ),
    ],
    ids=["uvicorn", "gunicorn"],
)
def test_counts_of_uvicorn_workers_are_exact(
    environment: dict[str, str], server: tuple[str, ...]
) -> None:
    """The same numbers come from an ASGI deployment."""
    port = free_port()
    command = [part.format(port=port) for part in server]
    command[0] = str(BIN / command[0])
    with exporter(environment) as (_, url), started(command, environment):
        sent = wait_for_web(port) + send_mix(port, 10)
        assert_exact(scrape(url), sent)


def test_any_metric_of_any_app_is_served(environment: dict[str, str]) -> None:
    """Context managers count in web workers and commands alike, with nothing more to do."""
    with procfile(environment) as (_, port, url):
        wait_for_web(port)
        arguments = ("--url", f"http://127.0.0.1:{port}", "--requests", "60", "--pause", "0")
        traffic: list[str | Path] = [BIN / "python", "manage.py", "generate_traffic", *arguments]
        with started(traffic, environment) as command:
            assert command.wait() == 0, command.output
        samples = scrape(url)
        placed = sum(value for (name, _), value in samples.items() if name == "shop_orders_total")
        redirects = sample(
            samples,
            "django_http_responses_total_by_status_view_method_total",
            status="302",
            view="shop:order",
            method="POST",
        )
        assert placed == redirects
        assert sample(samples, "shop_refused_orders_total") is not None


def test_test_traffic_enters_no_live_number(environment: dict[str, str], home: Path) -> None:
    """Exporter, checker and test runs write no value file."""
    with exporter(environment) as (_, url):
        scrape(url)
        for command in (["checkports"], ["test", "project.shop"]):
            with started([BIN / "python", "manage.py", *command], environment) as process:
                assert process.wait() == 0, process.output
    assert [name for name in os.listdir(home / "metrics") if name.endswith(".db")] == []
