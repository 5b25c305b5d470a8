"""A real Prometheus scrapes the exporter, and promtool reads its page."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.conftest import find_program
from tests.e2e.prometheus import prometheus, watch, write_prometheus_configuration
from tests.e2e.test_deployment import procfile
from tests.e2e.traffic import send_mix, wait_for_web
from tests.processes import fetch, wait_until


@pytest.fixture
def promtool() -> str:
    """Return the program."""
    return find_program("promtool", "prometheus")


def query(server: str, expression: str) -> float | None:
    """Return the value of an instant query with one result."""
    _, _, body = fetch(f"{server}/api/v1/query?query={quote(expression)}")
    result = json.loads(body)["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def test_prometheus_scrapes_and_counts(environment: dict[str, str], tmp_path: Path) -> None:
    """The target is up, and a query returns the number of requests."""
    with procfile(environment) as (_, port, url):
        sent = wait_for_web(port) + send_mix(port, 1)
        target = re.sub(r"http://|/metrics", "", url)
        configuration = write_prometheus_configuration(tmp_path, watch(target))
        with prometheus(configuration, environment) as server:
            wait_until(lambda: query(server, 'up{job="django"}') == 1)
            total = "sum(django_http_responses_total_by_status_view_method_total)"
            wait_until(lambda: query(server, total) == sum(sent.values()))


# Gauges of these names, since django-prometheus's dashboards and alerts ask for them.
FORCED_NAMES = {"django_migrations_applied_total", "django_migrations_unapplied_total"}


def test_promtool_accepts_the_page(environment: dict[str, str], promtool: str) -> None:
    """The linter has nothing to say but of the two names that compatibility forces."""
    with procfile(environment) as (_, port, url):
        wait_for_web(port)
        send_mix(port, 1)
        _, _, page = fetch(url)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, check=False
    )
    complaints = (done.stdout + done.stderr).decode().splitlines()
    assert {each.split()[0] for each in complaints} <= FORCED_NAMES
    assert all('should not have "_total" suffix' in each for each in complaints)
