"""Every query of every dashboard has an answer, and every rule can be evaluated."""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.prometheus import prometheus, watch, write_prometheus_configuration
from tests.e2e.test_dashboards import URLS
from tests.e2e.traffic import send_mix, wait_for_web
from tests.monitoring.boards import (
    FOLDER,
    NAMES,
    fill,
    list_queries,
    list_variables,
    read_board,
)
from tests.monitoring.synthetic import Page
from tests.processes import (
    BIN,
    clean_environment,
    exporter,
    fetch,
    free_port,
    run_manage,
    started,
    wait_until,
)

SETTINGS = """
from project.settings import *

INSTALLED_APPS = [*INSTALLED_APPS, "chores"]
ROOT_URLCONF = "monitored_urls"
PROMETHEUS_TRUST_REQUEST_START = True
PROMETHEUS_METRICS_COUNTED_MODELS = ["shop.Product"]
"""
COMMAND = """
from django.core.management.base import BaseCommand
from metrics_commands.commands import stage


class Command(BaseCommand):
    def handle(self, **options):
        with stage("sweep") as sweep:
            sweep.add(3)
"""
LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
# Some collectors have an interval of a minute.
PATIENCE = 120.0
# The traffic has a view that always fails, a statement that does, and a file that is none of ours.
EXPECTED_ALERTS = {
    "DjangoDatabaseErrors",
    "DjangoErrorBudgetBurnsFast",
    "DjangoErrorBudgetBurnsSlowly",
    "DjangoValueFilesSkipped",
}


class Deployment:
    """A shop that is asked for all it has, and a Prometheus that watches it."""

    def __init__(self, port: int, prometheus: str) -> None:
        self._port = port
        self._prometheus = prometheus

    def send_traffic(self) -> None:
        """Send requests of each kind."""
        send_mix(self._port, 1)
        url = f"http://127.0.0.1:{self._port}/all/"
        start = {"X-Request-Start": f"t={time.time() - 0.1:.3f}"}
        assert fetch(url, "GET", None, **start)[2] == b"done"

    def ask(self, path: str) -> Any:
        """Return what Prometheus answers."""
        status, _, body = fetch(f"{self._prometheus}/api/v1/{path}")
        assert status == 200, (path, body)
        return json.loads(body)["data"]

    def has_data(self, query: str) -> bool:
        """Tell whether a query returns a number."""
        result = self.ask(f"query?query={quote(query)}")["result"]
        return any(math.isfinite(float(each["value"][1])) for each in result)

    def choose_all(self, query: str) -> str:
        """Return what stands in a query where somebody has chosen each value by itself.

        The values are those of a label, which ``label_values(series, label)`` asks for.
        """
        found = LABEL_VALUES.fullmatch(query)
        assert found, query
        path = f"label/{found[2]}/values?match[]={quote(found[1])}"
        values: list[str] = wait_until(lambda: self.ask(path), lambda: f"no values: {query}")
        escaped = (re.escape(value).replace("\\", "\\\\") for value in values)
        return f"({'|'.join(escaped)})"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Path:
    """Return a folder with the shop's database, and settings and an app beside the shop's."""
    home = tmp_path_factory.mktemp("monitored")
    shutil.copy(migrated, home / "db.sqlite3")
    commands = home / "chores" / "management" / "commands"
    commands.mkdir(parents=True)
    (home / "chores" / "__init__.py").touch()
    (commands / "tidy.py").write_text(COMMAND)
    (home / "monitored_settings.py").write_text(SETTINGS)
    (home / "monitored_urls.py").write_text(URLS)
    return home


@pytest.fixture(scope="module")
def deployment(home: Path) -> Iterator[Deployment]:
    """Run the shop and all it takes to watch it."""
    environment = clean_environment(
        home,
        PROMETHEUS_METRICS_EXPORT_PORT="0",
        PYTHONPATH=str(home),
        DJANGO_SETTINGS_MODULE="monitored_settings",
    )
    port = free_port()
    web: list[str | Path] = [BIN / "gunicorn", "project.wsgi", "--workers", "2"]
    web += ["--bind", f"127.0.0.1:{port}"]
    options = ("--collector", "host", "--collector", "worker_processes")
    with (
        exporter(environment, *options) as (_, url),
        started(web, environment),
        serve(Page()) as synthetic,
    ):
        (home / "metrics" / "strange.db").touch()
        wait_for_web(port)
        done = run_manage(environment, "tidy")
        assert done.returncode == 0, done.stderr
        targets = [re.sub(r"http://|/metrics", "", url), synthetic]
        configuration = write_prometheus_configuration(
            home, watch(*targets), rule_files=[str(FOLDER / "rules" / "*.yml")]
        )
        with prometheus(configuration, environment) as server:
            watched = Deployment(port, server)
            watched.send_traffic()
            wait_until(lambda: watched.has_data("count(django_exporter_build_info) == 2"))
            yield watched


@contextmanager
def serve(page: Page) -> Iterator[str]:
    """Serve a page; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.render()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_every_query_has_data(deployment: Deployment, name: str) -> None:
    """No panel stays empty, whichever values of its variables are chosen."""
    board = read_board(name)
    chosen: dict[str, str] = {}
    for variable, query in list_variables(board).items():
        chosen[variable] = deployment.choose_all(fill(query, chosen))
    empty = dict(list_queries(board))

    def find_empty() -> dict[str, str]:
        deployment.send_traffic()
        for title, query in list(empty.items()):
            if deployment.has_data(fill(query, chosen)):
                del empty[title]
        return empty

    wait_until(lambda: not find_empty(), lambda: f"without data: {empty}", PATIENCE)


def test_every_rule_works_and_few_alerts_come(deployment: Deployment) -> None:
    """No rule fails on real numbers, each records something, and nothing sound raises an alert."""

    def list_rules() -> list[dict[str, Any]]:
        deployment.send_traffic()
        return [rule for group in deployment.ask("rules")["groups"] for rule in group["rules"]]

    def find_unfinished() -> list[str]:
        return [
            rule["name"]
            for rule in list_rules()
            if rule["health"] == "unknown"
            or (rule["type"] == "recording" and not deployment.has_data(rule["name"]))
        ]

    wait_until(
        lambda: not find_unfinished(), lambda: f"without result: {find_unfinished()}", PATIENCE
    )
    rules = list_rules()
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"} == {}

    def find_unexpected() -> set[str]:
        return {rule["name"] for rule in list_rules() if rule.get("alerts")} - EXPECTED_ALERTS

    # One late scrape of a busy machine raises an alert for a moment; what is wrong stays raised.
    wait_until(lambda: not find_unexpected(), lambda: f"raised: {find_unexpected()}", PATIENCE)
