"""A Prometheus of the tests' own, on a port of the kernel's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import free_port, started

from .conftest import find_program

EACH_SECOND = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")


def write_prometheus_configuration(folder: Path, jobs: list[dict[str, Any]], **more: Any) -> Path:
    """Write a configuration that scrapes each second; return where it is."""
    path = folder / "prometheus.yml"
    path.write_text(json.dumps({"global": EACH_SECOND, "scrape_configs": jobs} | more))
    return path


@contextmanager
def prometheus(configuration: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run Prometheus, which keeps its numbers beside its configuration; yield its URL."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        find_program("prometheus", "prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={configuration.with_name('tsdb')}",
        f"--web.listen-address={address}",
    ]
    with started(command, environment) as process:
        process.wait_for("Server is ready to receive web requests")
        yield f"http://{address}"


def watch(*targets: str) -> list[dict[str, Any]]:
    """Return the job ``django`` of targets."""
    return [{"job_name": "django", "static_configs": [{"targets": targets}]}]
