"""What public dashboards for django-prometheus ask Prometheus for is there, by the same names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.prometheus import prometheus, watch, write_prometheus_configuration
from tests.e2e.test_prometheus import query
from tests.e2e.traffic import send_mix, wait_for_web
from tests.processes import BIN, exporter, fetch, free_port, started, wait_until

# With each name the labels that the dashboards group and filter by.
QUERIES = {
    "django_http_requests_total_by_view_transport_method_total": 'view="shop:index",method="GET"',
    "django_http_responses_total_by_status_view_method_total": (
        'status="200",view="shop:index",method="GET"'
    ),
    "django_http_requests_latency_seconds_by_view_method_bucket": (
        'le="+Inf",view="shop:index",method="GET"'
    ),
    "django_http_requests_body_total_bytes_bucket": 'le="+Inf"',
    "django_http_exceptions_total_by_type_total": 'type="RuntimeError"',
    "django_http_exceptions_total_by_view_total": 'view="shop:broken"',
    "django_http_responses_total_by_templatename_total": (
        "templatename=~\"\\\\['shop/index.html'.*\""
    ),
    "django_db_execute_total": "",
    "django_db_new_connections_total": 'vendor="sqlite"',
    "django_db_query_duration_seconds_bucket": 'le="+Inf",vendor="sqlite"',
    "django_db_errors_total": 'type="OperationalError"',
    "django_cache_get_total": 'backend="locmem"',
    "django_cache_get_hits_total": 'backend="locmem"',
    "django_cache_get_misses_total": 'backend="locmem"',
    "django_migrations_applied_total": 'connection="default"',
    "django_migrations_unapplied_total": 'connection="default"',
    "django_model_inserts_total": 'model="test_product"',
    "django_model_updates_total": 'model="test_product"',
    "django_model_deletes_total": 'model="test_product"',
}
SETTINGS = """
from project.settings import *

ROOT_URLCONF = "dashboard_urls"
PROMETHEUS_EXPORT_MIGRATIONS = True
"""
URLS = """
from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.urls import include, path
from metrics_commands.models import ExportModelOperationsMixin
from project.shop.models import Product


class CountedProduct(ExportModelOperationsMixin("test_product"), Product):
    class Meta:
        app_label = "shop"
        proxy = True


def do_all(request):
    cache.set("there", 1)
    cache.get("there")
    cache.get("not there")
    product = CountedProduct.objects.create(name="A thing", price=1)
    product.save()
    product.delete()
    try:
        connection.cursor().execute("SELECT * FROM nowhere")
    except OperationalError:
        pass
    return HttpResponse("done")


urlpatterns = [path("all/", do_all), path("", include("project.urls"))]
"""


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Run the shop, its exporter and Prometheus; send traffic of each kind, and yield the last."""
    (tmp_path / "dashboard_settings.py").write_text(SETTINGS)
    (tmp_path / "dashboard_urls.py").write_text(URLS)
    environment |= {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "dashboard_settings"}
    port = free_port()
    web: list[str | Path] = [BIN / "gunicorn", "project.wsgi", "--workers", "2"]
    web += ["--bind", f"127.0.0.1:{port}"]
    with exporter(environment) as (_, url), started(web, environment):
        wait_for_web(port)
        send_mix(port, 1)
        assert fetch(f"http://127.0.0.1:{port}/all/")[2] == b"done"
        target = re.sub(r"http://|/metrics", "", url)
        configuration = write_prometheus_configuration(tmp_path, watch(target))
        with prometheus(configuration, environment) as address:
            wait_until(lambda: query(address, 'up{job="django"}') == 1)
            yield address


def test_the_names_that_public_dashboards_ask_for_have_data(server: str) -> None:
    """All nineteen, with the labels that their panels use, so that no panel stays empty."""
    assert len(QUERIES) == 19

    def find_empty() -> list[str]:
        wanted = {name: f'sum({name}{{job="django",{labels}}})' for name, labels in QUERIES.items()}
        found = {name: query(server, expression) for name, expression in wanted.items()}
        # No migration waits here, and that is what the panel is to show.
        return [
            name
            for name, value in found.items()
            if value is None or (value == 0) != (name == "django_migrations_unapplied_total")
        ]

    wait_until(lambda: not find_empty(), lambda: f"without data: {find_empty()}")
    # The alert sums them: one series for each database, and no ghost among them.
    assert query(server, 'count(django_migrations_unapplied_total{job="django"})') == 1
