"""Celery with a Redis broker: what became of each task, on the page of an exporter beside it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.processes import (
    ROOT,
    Started,
    clean_environment,
    exporter,
    kill_tree,
    run_manage,
    sample,
    scrape,
    started,
    wait_until,
)

from .redis_server import redis_server

PROJECT = "tests.e2e.celery_project"
TASKS = f"{PROJECT}.tasks"
UNCERTAIN = ("_bucket", "_sum")


class Deployment:
    """A broker, an exporter, and the environment of all processes beside them."""

    def __init__(self, environment: dict[str, str], url: str) -> None:
        self.environment = environment
        self.url = url

    def worker(self, *options: str) -> AbstractContextManager[Started]:
        """Start a worker."""
        command = [sys.executable, "-m", "celery", "-A", PROJECT, "worker", "-l", "INFO"]
        return started(
            [*command, "--without-gossip", "--without-mingle", *options], self.environment
        )

    def send(self, *calls: str) -> None:
        """Send tasks in a process of its own, which is gone afterwards."""
        lines = [f"from {PROJECT} import app", f"from {PROJECT}.tasks import *", *calls]
        done = run_manage(self.environment, "shell", "-c", "\n".join(lines))
        assert done.returncode == 0, done.stderr

    def read(self, name: str, **labels: str) -> float | None:
        """Return one number of the page."""
        return sample(scrape(self.url), f"celery_{name}", **labels)

    def await_tasks(self, task: str, expected: dict[str, float], queue: str = "main") -> None:
        """Wait until the page says just this of a task."""
        wait_until(
            lambda: self.read_tasks(task, queue) == expected,
            lambda: f"{self.read_tasks(task, queue)}, not {expected}",
        )

    def read_tasks(self, name: str, queue: str = "main") -> dict[str, float]:
        """Return what the page says of a task, without zeros and without what the clock decides."""
        found = {}
        for (series, labels), value in scrape(self.url).items():
            given = dict(labels)
            ours = given.pop("name", ""), given.pop("queue_name", "")
            if ours == (name, queue) and value and not series.endswith(UNCERTAIN):
                short = series.removeprefix("celery_task_").removesuffix("_total")
                found[" ".join([short, *given.values()])] = value
        return found


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Yield a deployment that has no worker yet."""
    with redis_server(tmp_path) as (_, port):
        environment = clean_environment(
            tmp_path,
            BROKER_URL=f"redis://127.0.0.1:{port}/3",
            DJANGO_SETTINGS_MODULE=f"{PROJECT}.settings",
            PYTHONPATH=str(ROOT),
        )
        with exporter(environment) as (_, url):
            yield Deployment(environment, url)


def fates(times: float) -> dict[str, float]:
    """Return what tasks add that were sent and started."""
    return dict.fromkeys(("sent", "received", "started", "queue_wait_time_count"), times)


def succeeded(times: float) -> dict[str, float]:
    """Return what tasks add that succeed."""
    return {**fates(times), "succeeded": times, "runtime_count": times}


def failed(times: float) -> dict[str, float]:
    """Return what tasks add that fail."""
    return {**fates(times), "failed LookupError": times}


def test_each_fate_of_a_task_is_counted_once(deployment: Deployment, tmp_path: Path) -> None:
    """Senders and workers are gone, and their numbers are exact."""
    with deployment.worker("--concurrency", "2") as worker:
        worker.wait_for(" ready")
        assert deployment.read("worker_up") == 1
        assert deployment.read("active_worker_count", queue_name="main") == 1
        assert deployment.read("active_process_count", queue_name="main") == 2
        # The worker itself, and its pool of two that has run nothing yet.
        wait_until(lambda: sample(scrape(deployment.url), "django_workers", role="task") == 3)
        deployment.send(
            *["succeed.delay()"] * 20,
            *["fail.delay()"] * 3,
            "retry.delay()",
            "reject.delay()",
            "succeed.apply_async(expires=-60)",
            "succeed.apply()",
            "app.send_task('nobody.knows')",
            f"hang.apply_async([{str(tmp_path / 'pid')!r}], time_limit=3)",
        )
        some_expired = {**succeeded(20), "sent": 21, "revoked": 1}
        deployment.await_tasks(f"{TASKS}.succeed", some_expired)
        deployment.await_tasks(f"{TASKS}.fail", failed(3))
        again = {"retried": 2, "succeeded": 1, "runtime_count": 1}
        deployment.await_tasks(f"{TASKS}.retry", {**fates(3), **again})
        deployment.await_tasks(f"{TASKS}.hang", {**fates(1), "failed TimeLimitExceeded": 1})
        worker.stop()
    # Only newer releases of Celery call a rejection a failure too.
    rejected = deployment.read_tasks(f"{TASKS}.reject")
    assert rejected.pop("failed Reject", 1) == 1
    assert rejected == {**fates(1), "rejected": 1}
    assert deployment.read_tasks("nobody.knows") == {"sent": 1, "failed NotRegistered": 1}
    assert deployment.read_tasks(f"{TASKS}.succeed") == some_expired
    wait_until(lambda: deployment.read("worker_up") == 0)
    assert deployment.read("queue_length", queue_name="main") == 0


def test_a_killed_process_and_a_killed_worker(deployment: Deployment, tmp_path: Path) -> None:
    """What was running counts as lost, the worker as gone, and nothing is forgotten."""
    first, second = tmp_path / "first", tmp_path / "second"
    with deployment.worker("--concurrency", "2") as worker:
        worker.wait_for(" ready")
        deployment.send(
            f"hang.apply_async([{str(first)!r}], task_id='first')",
            f"hang.apply_async([{str(second)!r}], task_id='second')",
        )
        wait_until(lambda: all(each.exists() and each.read_text() for each in (first, second)))
        assert deployment.read("worker_tasks_active") == 2
        os.kill(int(first.read_text()), signal.SIGKILL)
        deployment.send("app.control.revoke('second', terminate=True)")
        ended = {**fates(2), "failed WorkerLostError": 1, "revoked": 1}
        deployment.await_tasks(f"{TASKS}.hang", ended)
        wait_until(lambda: deployment.read("worker_tasks_active") == 0)
        assert deployment.read("worker_up") == 1
        kill_tree(worker.pid)
        wait_until(lambda: deployment.read("worker_up") == 0)
    deployment.send(*[f"succeed.apply_async(priority={each})" for each in range(10)])
    wait_until(lambda: deployment.read("queue_length", queue_name="main") == 10)
    assert deployment.read_tasks(f"{TASKS}.hang") == ended
    with deployment.worker("--concurrency", "1"):
        deployment.await_tasks(f"{TASKS}.succeed", succeeded(10))
        wait_until(lambda: deployment.read("queue_length", queue_name="main") == 0)
        assert deployment.read("worker_up") == 1


def test_pools_without_processes_of_their_own(deployment: Deployment) -> None:
    """Threads, greenlets or nothing of the kind: the numbers are the same."""
    pytest.importorskip("gevent")
    pools = ("threads", "solo", "gevent")
    with ExitStack() as stack:
        for pool in pools:
            options = ("--pool", pool, "--queues", pool, "--concurrency", "4", "-n", f"{pool}@%h")
            stack.enter_context(deployment.worker(*options))
        tasks = [*["succeed"] * 30, "fail"]
        deployment.send(
            *[f"{task}.apply_async(queue={pool!r})" for pool in pools for task in tasks]
        )
        for pool in pools:
            deployment.await_tasks(f"{TASKS}.succeed", succeeded(30), pool)
            deployment.await_tasks(f"{TASKS}.fail", failed(1), pool)
        assert deployment.read("worker_tasks_active") == 0


def test_a_project_without_celery(environment: dict[str, str]) -> None:
    """There is no family and no error."""
    with exporter(environment) as (_, url):
        page = scrape(url)
    assert sample(page, "django_exporter_collector_success", collector="celery") == 1
    assert [name for name, _ in page if name.startswith("celery_")] == []
