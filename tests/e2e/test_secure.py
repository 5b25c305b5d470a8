"""A real Prometheus over TLS, with a password and a certificate; and OpenMetrics under traffic."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import prometheus_client.openmetrics.parser as openmetrics
from prometheus_client import Metric

from tests.e2e.prometheus import prometheus, write_prometheus_configuration
from tests.e2e.test_deployment import procfile
from tests.e2e.test_prometheus import query
from tests.e2e.traffic import send_mix, wait_for_web
from tests.processes import ROOT, Started, fetch, started, wait_until
from tests.server.certificates import (
    AUTHORITY,
    SERVER,
    write_certificate,
    write_configuration,
)

PASSWORD = "open sesame"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
CONFIGURATION = f"""{SERVER}
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [prometheus.example]
basic_auth_users:
  prometheus: {HASH}
"""
parse: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
RESPONSES = "django_http_responses_total_by_status_view_method"


@contextmanager
def serving(environment: dict[str, str], *options: str | Path) -> Iterator[tuple[Started, str]]:
    """Start runmetrics; yield it with the host and the port of its URL."""
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics", *options]
    with started(command, environment) as process:
        yield process, process.wait_for(r"Serving https://(\S+)/metrics")[1]


def make_job(folder: Path, name: str, target: str, password: str) -> dict[str, Any]:
    """Return a scrape configuration with a client's certificate."""
    return {
        "job_name": name,
        "scheme": "https",
        "tls_config": {
            "ca_file": str(folder / "ca.pem"),
            "cert_file": str(folder / "prometheus.pem"),
            "key_file": str(folder / "prometheus.key"),
        },
        "basic_auth": {"username": "prometheus", "password": password},
        "static_configs": [{"targets": [target]}],
    }


def ask(server: str, path: str) -> Any:
    """Return the data of an answer of Prometheus' API."""
    return json.loads(fetch(f"{server}/api/v1/{path}")[2])["data"]


def test_prometheus_scrapes_with_tls_a_password_and_a_certificate(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Who has all three gets OpenMetrics, and who has a wrong password is down for that reason."""
    path = write_configuration(tmp_path, CONFIGURATION)
    write_certificate(tmp_path, "prometheus", AUTHORITY.issue_cert("prometheus.example"))
    options = ("--access-log", "--web-config-file", path)
    with serving(environment, *options) as (process, target):
        jobs = [
            make_job(tmp_path, "right", target, PASSWORD),
            make_job(tmp_path, "wrong", target, "guessed"),
        ]
        configuration = write_prometheus_configuration(tmp_path, jobs)
        with prometheus(configuration, environment) as server:

            def find_failed() -> dict[str, Any]:
                active = ask(server, "targets")["activeTargets"]
                return {each["labels"]["job"]: each for each in active if each["lastError"]}

            def find_up() -> dict[str, str]:
                result = ask(server, "query?query=up")["result"]
                return {each["metric"]["job"]: each["value"][1] for each in result}

            wait_until(lambda: find_up() == {"right": "1", "wrong": "0"})
            wait_until(lambda: list(find_failed()) == ["wrong"])
            assert "401" in find_failed()["wrong"]["lastError"]
            # Only OpenMetrics names the family of a counter without "_total".
            metadata = ask(server, "targets/metadata?match_target=" + quote('{job="right"}'))
            names = {each["metric"]: each["type"] for each in metadata}
            assert names["promhttp_metric_handler_requests"] == "counter"
            answered = 'promhttp_metric_handler_requests_total{code="200"}'
            wait_until(lambda: (query(server, answered) or 0) > 0)
        assert process.stop() == 0
        assert re.search(r"127\.0\.0\.1 GET /metrics 200 in", process.output)
        assert "guessed" not in process.output
        assert "Traceback" not in process.output


def test_a_strict_parser_accepts_every_page_under_traffic(environment: dict[str, str]) -> None:
    """OpenMetrics stays valid while workers write, and its counts are exact afterwards."""
    pages = []

    def read(url: str) -> list[Metric]:
        status, headers, body = fetch(url, Accept=OPENMETRICS)
        assert status == 200
        assert headers["Content-Type"].startswith(OPENMETRICS)
        return list(parse(body.decode()))

    with procfile(environment) as (_, port, url):
        sent = wait_for_web(port)
        traffic = threading.Thread(target=lambda: sent.update(send_mix(port, 2)))
        traffic.start()
        while traffic.is_alive():
            pages.append(read(url))
        traffic.join()
        families = {each.name: each for each in read(url)}
    assert pages
    counted = sum(
        each.value for each in families[RESPONSES].samples if each.name.endswith("_total")
    )
    assert counted == sum(sent.values())
    assert (
        families["django_http_requests_latency_including_middlewares_seconds"].type == "histogram"
    )
    assert families["process_start_time_seconds"].type == "gauge"
