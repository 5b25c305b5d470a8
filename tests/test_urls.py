"""The page of metrics in a web process answers for all workers, and never harms the site."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.test import AsyncClient, Client
from django.urls import reverse
from prometheus_client import REGISTRY, Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_string_to_metric_families,
)
from prometheus_client.parser import text_string_to_metric_families

from metrics_commands import directory, urls
from metrics_commands.multiprocess.value_file import ValueFile
from metrics_commands.testing import assert_metric_increments
from tests.processes import (
    Started,
    clean_environment,
    fetch,
    free_port,
    parse_samples,
    sample,
    scrape,
    started,
    wait_until,
)

REQUESTS = "django_http_requests_before_middlewares_total"


@pytest.fixture
def metrics_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the page made from a directory, as it is in a worker."""
    monkeypatch.setattr(urls, "_by_pid", {})
    decided = directory.Decision(path=tmp_path / "metrics", in_files=True)
    monkeypatch.setattr(directory, "decision", decided)
    (tmp_path / "metrics").mkdir()
    return tmp_path / "metrics"


def test_the_page_has_the_usual_name_and_type(client: Client) -> None:
    """Links and filters by django-prometheus's view name go on, and Prometheus can read it."""
    assert reverse("prometheus-django-metrics") == "/metrics"
    client.get("/about/")
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "no-store" in answer.headers["Cache-Control"]
    names = {each.name for each in text_string_to_metric_families(answer.content.decode())}
    assert {"django_http_requests_before_middlewares", "django_model_inserts"} <= names


def test_prometheus_has_openmetrics(client: Client) -> None:
    """Who asks for a better format gets it, and a cache is told what decides on it."""
    wanted = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2"
    client.get("/about/")
    answer = client.get("/metrics", headers={"Accept": wanted})
    content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.headers["Content-Type"] == f"{content_type}; escaping=allow-utf-8"
    assert "Accept" in answer.headers["Vary"]
    page = answer.content.decode()
    families = list(openmetrics_string_to_metric_families(page))  # type: ignore[no-untyped-call]
    assert "django_model_inserts" in {each.name for each in families}
    refused = client.get("/metrics", headers={"Accept": f"{wanted};q=2"})
    assert refused.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_it_is_read_only(client: Client) -> None:
    """GET and HEAD are answered, everything else is refused."""
    assert client.head("/metrics").status_code == 200
    for method in (client.post, client.put, client.delete):
        assert method("/metrics").status_code == 405


def test_an_async_server_has_it(client: Client) -> None:
    """The page is served on an event loop too."""

    async def ask() -> int:
        return (await AsyncClient().get("/metrics")).status_code

    assert async_to_sync(ask)() == 200


@pytest.mark.skipif(django.VERSION < (5, 1), reason="LoginRequiredMiddleware is of Django 5.1")
def test_prometheus_needs_no_login(client: Client, settings: LazySettings) -> None:
    """LoginRequiredMiddleware lets a scrape pass, and nothing else."""
    settings.INSTALLED_APPS = [
        *settings.INSTALLED_APPS,
        "django.contrib.auth",
        "django.contrib.contenttypes",
    ]
    settings.LOGIN_URL = "/login"
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert Client().get("/about/").status_code == 302
    assert Client().get("/metrics").status_code == 200


def test_no_database_is_needed(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    """With ATOMIC_REQUESTS the page opens no transaction, which this test's database refuses."""
    from django.db import connections

    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert client.get("/metrics").status_code == 200
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        client.get("/about/")


def test_the_page_has_the_numbers_of_the_directory(client: Client, metrics_directory: Path) -> None:
    """What other processes wrote is shown, and a file that is none costs itself."""
    written = ValueFile(str(metrics_directory / "counter_1.db"))
    key = '["zoo_meals", "zoo_meals_total", {"animal": "dog"}, "Meals."]'
    written.write_value(key, 3.0, 0.0)
    (metrics_directory / "counter_2.db").write_bytes(b"no value file")
    samples = parse_samples(client.get("/metrics").content.decode())
    written.close()
    assert sample(samples, "zoo_meals_total", animal="dog") == 3
    skipped = {labels: n for (name, labels), n in samples.items() if name.endswith("files_skipped")}
    assert list(skipped.values()) == [1]


def test_a_directory_that_is_gone_is_told(client: Client, metrics_directory: Path) -> None:
    """A page can be had also where the numbers cannot, and tells so."""
    client.get("/metrics")
    metrics_directory.rmdir()
    samples = parse_samples(client.get("/metrics").content.decode())
    assert sample(samples, "django_exporter_metrics_directory_up") == 0
    assert sample(samples, "django_exporter_collector_success", collector="value_files") == 0


class Broken:
    """A collector of the application's own that fails."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        raise ConnectionError("no queue to ask")


@pytest.fixture
def _broken() -> Iterator[None]:
    collector = Broken()
    REGISTRY.register(collector)
    yield
    REGISTRY.unregister(collector)


@pytest.mark.usefixtures("_broken")
def test_a_failure_is_one_line_and_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A page that cannot be made is a plain 500, without what the log has to say about it."""
    answer = client.get("/metrics")
    assert answer.status_code == 500
    assert answer.content == b"The page of metrics cannot be made; the log says why.\n"
    assert "metrics_commands" in {each.name for each in caplog.records}
    assert "no queue to ask" in caplog.text


def test_the_page_counts_itself_under_its_name(client: Client) -> None:
    """Its own requests can be told from the others', and left out of dashboards."""
    with assert_metric_increments(
        "django_http_requests_total_by_view_transport_method_total",
        view="prometheus-django-metrics",
        transport="http",
        method="GET",
    ):
        client.get("/metrics")


@pytest.fixture(params=[(), ("--preload",)], ids=["", "preload"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Started, str]]:
    """Serve the shop by two workers with threads; yield the server and its URL."""
    environment = clean_environment(tmp_path)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "project.wsgi", "--bind", f"127.0.0.1:{port}"]
    options = ["--workers", "2", "--threads", "2", "--no-control-socket", *request.param]
    with started([*command, *options], environment) as server:
        wait_until(lambda: server.output.count("Booting worker") == 2)
        yield server, f"http://127.0.0.1:{port}"


@pytest.mark.e2e
def test_it_answers_for_all_workers(site: tuple[Started, str]) -> None:
    """Whichever worker is asked, the page has everybody's requests, and grows by its own only."""
    _, url = site
    for _ in range(20):
        assert fetch(f"{url}/about/")[0] == 200
    for asked in range(1, 13):
        assert sample(scrape(f"{url}/metrics"), REQUESTS) == 20 + asked
    assert sample(scrape(f"{url}/metrics"), "django_model_inserts_total", model="order") == 0
