"""The two middlewares in whole projects: their settings, labels and forks, and without numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ..instrumentation import urls
from ..processes import Samples, clean_environment, parse_samples, run, run_manage, sample

BEFORE, AFTER, HERE = urls.BEFORE, urls.AFTER, urls.HERE
UNNAMED = "<unnamed view>"

SITE = """
import sys
import django
from django.conf import settings
from django.test import Client
from prometheus_client import REGISTRY, Counter, generate_latest

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["metrics_commands"],
    ROOT_URLCONF={urls!r},
    SECRET_KEY="unsigned",
    **{{"MIDDLEWARE": [{before!r}, {after!r}], **{options!r}}},
)
django.setup()
for name in {others!r}:
    Counter(name, "Somebody else's.")
for _ in range(3):
    assert Client().get("/plain").content == b"plain"
sys.stdout.write(generate_latest().decode())
"""


def serve_three(
    home: Path, options: dict[str, object], others: tuple[str, ...] = ()
) -> tuple[Samples, str]:
    """Let a process with these settings answer three requests; return its samples and its log."""
    page, log = serve_page(home, options, others)
    return parse_samples(page), log


def serve_page(
    home: Path, options: dict[str, object], others: tuple[str, ...] = ()
) -> tuple[str, str]:
    """Let a process with these settings answer three requests; return its page and its log."""
    script = SITE.format(before=BEFORE, after=AFTER, urls=HERE, options=options, others=others)
    result = run([sys.executable, "-W", "error", "-c", script], clean_environment(home))
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def test_namespace_and_buckets_are_settings(tmp_path: Path) -> None:
    """A namespace comes before every name, and latencies have the buckets asked for."""
    samples, log = serve_three(
        tmp_path,
        {"PROMETHEUS_METRIC_NAMESPACE": "shop", "PROMETHEUS_LATENCY_BUCKETS": [0.5, 60]},
    )
    names = {name for name, _ in samples if "django_http" in name}
    assert names
    assert all(name.startswith("shop_django_http_") for name in names)
    for name, labels in [
        ("requests_latency_including_middlewares_seconds", {}),
        ("requests_latency_seconds_by_view_method", {"view": "plain", "method": "GET"}),
    ]:
        bounds = {
            dict(found)["le"]
            for each, found in samples
            if each == f"shop_django_http_{name}_bucket" and labels.items() <= dict(found).items()
        }
        assert bounds == {"0.5", "60.0", "+Inf"}
        assert sample(samples, f"shop_django_http_{name}_count", **labels) == 3
    assert not log


@pytest.mark.parametrize(
    "options",
    [
        {"PROMETHEUS_METRIC_NAMESPACE": "no-name", "PROMETHEUS_LATENCY_BUCKETS": "0.5,60"},
        {"PROMETHEUS_METRIC_NAMESPACE": 7, "PROMETHEUS_LATENCY_BUCKETS": [60, 0.5]},
    ],
    ids=["no names, no numbers", "wrong types, wrong order"],
)
def test_wrong_settings_cost_no_numbers(options: dict[str, object], tmp_path: Path) -> None:
    """Settings that make no sense are as if they were not there."""
    samples, _ = serve_three(tmp_path, options)
    latency = "django_http_requests_latency_including_middlewares_seconds"
    assert sample(samples, f"{latency}_count") == 3
    assert sample(samples, f"{latency}_bucket", le="0.075") is not None


def test_names_that_others_have_declared_cost_nothing(tmp_path: Path) -> None:
    """An old migration may still import django-prometheus, which declares the same names."""
    page = serve_page(tmp_path, {}, ("django_http_requests_total_by_method_total",))[0]
    assert 'django_http_requests_total_by_method_total{method="GET"} 3.0' in page


def test_a_request_that_cannot_be_read_is_served(tmp_path: Path) -> None:
    """What breaks while counting, as is_secure() with this setting, is lost, and said once."""
    samples, log = serve_three(tmp_path, {"SECURE_PROXY_SSL_HEADER": ("ONE",)})
    assert sample(samples, "django_http_responses_before_middlewares_total") == 3
    assert log.count("A number was lost while counting responses") == 1
    assert "ImproperlyConfigured" in log


@pytest.mark.parametrize("wrong", [False, True])
def test_a_subclass_adds_labels_to_the_families_by_view(wrong: bool, tmp_path: Path) -> None:
    """The documented way to add labels; values that cannot be had cost the label, not the count."""
    kind = "Unlabelled" if wrong else "Labelled"
    options: dict[str, object] = {"MIDDLEWARE": [BEFORE, f"{HERE}.{kind}"]}
    samples, log = serve_three(tmp_path, options)
    by_view = {"view": "plain", "method": "GET", "tenant": "" if wrong else "testserver"}
    assert (
        sample(samples, "django_http_requests_latency_seconds_by_view_method_count", **by_view) == 3
    )
    name = "django_http_responses_total_by_status_view_method_total"
    assert sample(samples, name, status="200", **by_view) == 3
    name = "django_http_requests_total_by_view_transport_method_total"
    assert sample(samples, name, transport="http", **by_view) == 3
    assert log.count("A number was lost while counting labels") == wrong


def test_a_response_of_another_middleware_counts_also_with_labels(tmp_path: Path) -> None:
    """Where a label cannot be asked for, its value is empty, and nothing is lost."""
    options: dict[str, object] = {"MIDDLEWARE": [BEFORE, f"{HERE}.closed", f"{HERE}.Labelled"]}
    script = SITE.replace(
        'assert Client().get("/plain").content == b"plain"', 'Client().get("/plain")'
    )
    script = script.format(before=BEFORE, after=AFTER, urls=HERE, options=options, others=())
    result = run([sys.executable, "-W", "error", "-c", script], clean_environment(tmp_path))
    assert result.returncode == 0, result.stderr
    labels = {"status": "503", "view": UNNAMED, "method": "GET", "tenant": ""}
    name = "django_http_responses_total_by_status_view_method_total"
    assert sample(parse_samples(result.stdout), name, **labels) == 3
    assert "was lost" not in result.stderr


FORKING = """
import os
import django
from django.conf import settings
from metrics_commands.directory import use_metrics_directory
use_metrics_directory({directory!r})
settings.configure(
    ALLOWED_HOSTS=["*"], INSTALLED_APPS=["metrics_commands"], MIDDLEWARE=[{before!r}, {after!r}],
    ROOT_URLCONF={urls!r}, SECRET_KEY="unsigned",
)
django.setup()
from django.test import Client
parent = os.getpid()
for _ in range(5):
    Client().get("/forks")
    if os.getpid() != parent:
        os._exit(0)
for _ in range(5):
    assert os.wait()[1] == 0
"""


def test_a_view_that_forks_is_counted_once(tmp_path: Path) -> None:
    """A child that returns through the middleware neither counts again nor hangs."""
    directory = str(tmp_path / "metrics")
    script = FORKING.format(directory=directory, before=BEFORE, after=AFTER, urls=HERE)
    result = run([sys.executable, "-c", script], clean_environment(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "was lost" not in result.stderr
    page = run_manage(clean_environment(tmp_path), "runmetrics", "--once").stdout
    samples = parse_samples(page)
    assert sample(samples, "django_http_responses_before_middlewares_total") == 5
    assert sample(samples, "django_http_responses_total_by_status_total", status="200") == 5
