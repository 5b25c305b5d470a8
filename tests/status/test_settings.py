"""The settings on the page are those in force, with where each was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import override_settings

from metrics_commands import conf, directory
from metrics_commands.management.settings_in_force import LONGEST_VALUE, list_settings
from metrics_commands.status.document import SettingInForce


def find(options: dict[str, object], name: str) -> SettingInForce:
    """Return one setting."""
    (found,) = [each for each in list_settings(options) if each.name == name]
    return found


def test_every_setting_is_there_but_the_port_that_does_not_decide() -> None:
    """Of port and range only the one that was used is shown."""
    names = {each.name for each in conf.SETTINGS}
    by_port = {each.name for each in list_settings({"port": "8001"})}
    by_range = {each.name for each in list_settings({"port_range": "8001-8003"})}
    assert names - by_port == {"PROMETHEUS_METRICS_EXPORT_PORT_RANGE"}
    assert names - by_range == {"PROMETHEUS_METRICS_EXPORT_PORT"}


@pytest.mark.parametrize(
    ("options", "name", "value", "source"),
    [
        ({"port": "9001"}, "PROMETHEUS_METRICS_EXPORT_PORT", "9001", "option"),
        ({"port_range": "1-3"}, "PROMETHEUS_METRICS_EXPORT_PORT_RANGE", "1-3", "option"),
        ({"port_wait": "forever"}, "PROMETHEUS_METRICS_PORT_WAIT", "forever", "option"),
        ({"address": ["::1", "::2"]}, "PROMETHEUS_METRICS_EXPORT_ADDRESS", "::1, ::2", "option"),
        ({"advertise": "a.example"}, "PROMETHEUS_METRICS_ADVERTISE", "a.example", "option"),
        ({"access_log": "true"}, "PROMETHEUS_METRICS_ACCESS_LOG", "yes", "option"),
        ({"no_collector": ["gc"]}, "PROMETHEUS_METRICS_NO_COLLECTORS", "gc", "option"),
        ({}, "PROMETHEUS_METRICS_SD_FILE", "", "default"),
    ],
)
def test_a_value_is_shown_as_it_would_be_written(
    options: dict[str, object], name: str, value: str, source: str
) -> None:
    """Who compares the page with a command line finds the same."""
    shown = find(options, name)
    assert (shown.value, shown.source) == (value, source)


@pytest.mark.parametrize(
    ("options", "from_environment", "source"),
    [
        ({}, False, "setting"),
        ({}, True, "environment"),
        ({"metrics_dir": "/elsewhere"}, False, "option"),
    ],
)
def test_a_directory_comes_from_where_it_was_written(
    options: dict[str, object],
    from_environment: bool,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What settings.py chooses nobody has to look for in the environment."""
    monkeypatch.setattr(directory, "decision", directory.Decision())
    named = str(tmp_path) if from_environment else ""
    monkeypatch.setenv(directory.ENVIRONMENT_VARIABLE, named)
    directory.use_metrics_directory(tmp_path / "chosen")
    assert find(options, directory.ENVIRONMENT_VARIABLE).source == source


def test_a_long_value_is_cut() -> None:
    """No setting fills the page, and none can forge a line of it."""
    views = ["view\n*", *(f"view{each}" for each in range(500))]
    with override_settings(PROMETHEUS_EXCLUDE_VIEWS=views):
        shown = find({}, "PROMETHEUS_EXCLUDE_VIEWS")
    assert (len(shown.value), shown.source) == (LONGEST_VALUE, "setting")
    assert shown.value.startswith("view\\n*, view0")
