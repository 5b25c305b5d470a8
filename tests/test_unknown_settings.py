"""W044: a name that nothing reads is told with the one that was meant; other names are not."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.core import checks
from django.test import override_settings

from metrics_commands import conf
from metrics_commands.unknown_settings import find_unknown_settings
from metrics_commands.wishes import in_settings

PREFIX = "PROMETHEUS_METRICS_"
MISSPELLED = {
    "PROMETHEUS_METRICS_EXPORT_PROT": "PROMETHEUS_METRICS_EXPORT_PORT",
    "PROMETHEUS_METRICS_MAX_REQUEST": "PROMETHEUS_METRICS_MAX_REQUESTS",
    "PROMETHEUS_METRICS_PORT_RANGE": "PROMETHEUS_METRICS_EXPORT_PORT_RANGE",
    "PROMETHEUS_METRICS_COLECTORS": "PROMETHEUS_METRICS_COLLECTORS",
    "PROMETHEUS_METRICS_EXCLUDE_VIEWS": "PROMETHEUS_EXCLUDE_VIEWS",
    "PROMETHEUS_METRIC_EXPORT_PORT": "PROMETHEUS_METRICS_EXPORT_PORT",
    "PROMETEUS_METRICS_EXPORT_PORT": "PROMETHEUS_METRICS_EXPORT_PORT",
    "PROMETHEUS_MULTIPROCESS_DIR": "PROMETHEUS_MULTIPROC_DIR",
    "PROMETHEUS_EXCLUDED_VIEWS": "PROMETHEUS_EXCLUDE_VIEWS",
}
OF_OTHERS = (
    "PROMETHEUS_DISABLE_CREATED_SERIES",
    "PROMETHEUS_LEGACY_NAME_VALIDATION",
    "PROMETHEUS_MULTIPROC_MODE",
    "PROMETHEUS_NAMESPACE",
    "PROMETHEUS_PORT",
    "PROMETHEUS_EXPORTER_PORT",
    "PROMETHEUS_BUCKETS",
    "PROMETHEUS_URL",
    "PROMETHEUS_METRICS",
    "PROMPT_COMMAND",
    "prometheus_multiproc_dir",
)


@pytest.mark.parametrize(("written", "meant"), MISSPELLED.items())
def test_a_misspelled_name_is_told_with_the_right_one(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    """In settings.py and in the environment alike, one warning each, with the line to write."""
    with override_settings(**{written: "anything"}):
        (found,) = checks.run_checks(tags=["metrics"])
    assert (found.id, found.level) == ("metrics_commands.W044", checks.WARNING)
    assert found.msg == f"The setting {written} is not known."
    assert str(found.hint) == f"Did you mean {meant}?\nsettings.py: {meant} = …"
    monkeypatch.setenv(written, "anything")
    (found,) = checks.run_checks(tags=["metrics"])
    assert found.msg == f"The environment variable {written} is not known."
    assert str(found.hint) == f"Did you mean {meant}?\nenvironment: {meant}=…"


def test_of_two_that_are_as_likely_both_are_named() -> None:
    """A port is a port; nobody knows which was meant, so no line is told."""
    with override_settings(PROMETHEUS_METRICS_PORT=9001):
        (found,) = checks.run_checks(tags=["metrics"])
    names = f"{PREFIX}PORT_WAIT or {PREFIX}EXPORT_PORT"
    assert str(found.hint) == f"Did you mean {names}?"


def test_a_name_that_is_like_none_of_ours_is_told_without_a_guess() -> None:
    """What begins as ours do is ours, and a project that has one of its own can say so."""
    with override_settings(PROMETHEUS_METRICS_ENABLED=True):
        (found,) = checks.run_checks(tags=["metrics"])
    assert "Did you mean" not in str(found.hint)
    assert "SILENCED_SYSTEM_CHECKS" in str(found.hint)


@pytest.mark.parametrize("name", [*OF_OTHERS, *(each.name for each in conf.SETTINGS)])
def test_known_names_and_those_of_others_are_not_mentioned(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither our own, which are django-prometheus's as well, nor those of other programs."""
    monkeypatch.setenv(name, "1")
    with override_settings():
        setattr(settings, name, None)
        assert list(find_unknown_settings(in_settings)) == []


def test_an_unset_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one counts as absent, as everywhere."""
    monkeypatch.setenv("PROMETHEUS_METRICS_EXPORT_PROT", "")
    assert checks.run_checks(tags=["metrics"]) == []


@pytest.mark.parametrize(
    "rest",
    ["PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_9090_TCP",
     "PORT_9090_TCP_ADDR", "PORT_9090_TCP_PORT", "PORT_9090_TCP_PROTO"],
)  # fmt: skip
def test_variables_of_a_cluster_s_service_are_not_mentioned(
    monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    """Kubernetes gives each pod some for a service called prometheus-metrics."""
    monkeypatch.setenv(PREFIX + rest, "tcp://10.0.0.9:9090" if rest == "PORT" else "9090")
    assert checks.run_checks(tags=["metrics"]) == []
