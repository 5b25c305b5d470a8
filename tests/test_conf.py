"""Where a value comes from, what overrules what, and what an error says."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings

from metrics_commands import conf, worker_settings
from metrics_commands.errors import ConfigurationError
from metrics_commands.setting import Setting

PORT = "PROMETHEUS_METRICS_EXPORT_PORT"
RANGE = "PROMETHEUS_METRICS_EXPORT_PORT_RANGE"
# What the shipped project decides is no default.
BARE = {name: None for name in dir(settings) if name.startswith("PROMETHEUS_")}


def load(options: dict[str, Any] | None = None, **values: object) -> conf.Config:
    """Load a configuration with only these settings in settings.py."""
    with override_settings(**{**BARE, **values}):
        return conf.load_config(options)


def test_defaults_are_safe() -> None:
    """Without any setting the exporter listens on this machine only, on port 8001."""
    config = load()
    assert (config.addresses, config.ports, config.port_wait) == (("127.0.0.1",), (8001,), 10.0)
    assert (config.sd_file, config.advertise) == (None, None)
    assert (config.telemetry_path, config.log_format) == ("/metrics", "text")
    assert (config.metrics_directory, config.collectors, config.namespace) == (None, {}, "")


def test_an_option_tells_its_other_name_and_its_default() -> None:
    """Who asks for help learns what to write into the environment, and what holds without it."""
    parser = ArgumentParser()
    conf.add_options(parser)
    text = " ".join(parser.format_help().split())
    assert f"Port to listen on; 0 lets the kernel choose one. [{PORT}; default 8001]" in text
    assert "[PROMETHEUS_METRICS_PORT_WAIT; default 10]" in text
    assert "[PROMETHEUS_METRICS_EXPORT_ADDRESS; default 127.0.0.1]" in text
    assert f"[{RANGE}]" in text
    assert "[PROMETHEUS_METRICS_OPEN_HEALTH]" in text


@pytest.mark.parametrize(
    ("setting", "dest", "field", "values"),
    [
        ("EXPORT_ADDRESS", "address", "addresses", [["::1"], "10.0.0.2,::1", "example.org"]),
        ("EXPORT_PORT", "port", "ports", ["1001", "1002", 1003]),
        ("EXPORT_PORT_RANGE", "port_range", "ports", ["1-2", "3-4", range(5, 7)]),
        ("PORT_WAIT", "port_wait", "port_wait", ["1", "2", 3.5]),
        ("TELEMETRY_PATH", "telemetry_path", "telemetry_path", ["/a", "/b", "/c"]),
        ("LOG_FORMAT", "log_format", "log_format", ["text", "json", "text"]),
    ],
)
def test_option_overrules_environment_overrules_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, dest: str, field: str, values: list[Any]
) -> None:
    """A value nearer to the person who starts the command wins, and the next takes its place."""
    name = f"PROMETHEUS_METRICS_{setting}"
    option, environment, written = values
    meant = [getattr(load({dest: value}), field) for value in values]
    assert getattr(load(**{name: written}), field) == meant[2]
    monkeypatch.setenv(name, environment)
    assert getattr(load(**{name: written}), field) == meant[1]
    assert getattr(load({dest: option}, **{name: written}), field) == meant[0]
    assert meant[0] != meant[1] != meant[2]


def test_the_metrics_directory_of_the_environment_is_overruled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--metrics-dir reads another directory than the one that settings chose."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "environment"))
    assert load().metrics_directory == tmp_path / "environment"
    chosen = load({"metrics_dir": str(tmp_path / "option")}).metrics_directory
    assert chosen == tmp_path / "option"


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable, as compose files make them, changes nothing."""
    for name in (PORT, RANGE, "PROMETHEUS_METRICS_EXPORT_ADDRESS", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.setenv(name, "")
    config = load()
    assert (config.addresses, config.ports) == (("127.0.0.1",), (8001,))
    assert config.metrics_directory is None


@pytest.mark.parametrize(
    ("options", "environment", "written", "ports"),
    [
        ({"port": "0"}, {RANGE: "1-2"}, {RANGE: range(3, 5)}, (0,)),
        ({"port_range": "1-2"}, {PORT: "9"}, {PORT: 8}, (1, 2)),
        ({}, {PORT: "9"}, {RANGE: range(3, 5)}, (9,)),
        ({}, {RANGE: "1-2"}, {PORT: 8}, (1, 2)),
        ({}, {}, {PORT: 8, RANGE: [3, 4]}, (3, 4)),
        ({}, {}, {PORT: 8}, (8,)),
    ],
)
def test_the_highest_source_decides_port_or_range_whole(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    environment: dict[str, str],
    written: dict[str, Any],
    ports: tuple[int, ...],
) -> None:
    """A port on the command line is not widened by a range in settings.py, nor the reverse."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load(options, **written).ports == ports


@pytest.mark.parametrize("source", ["option", "environment"])
def test_port_and_range_in_one_source_contradict(
    monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Whoever gives both is asked which one is meant."""
    options = {"port": "1", "port_range": "1-2"} if source == "option" else {}
    if source == "environment":
        monkeypatch.setenv(PORT, "1")
        monkeypatch.setenv(RANGE, "1-2")
    with pytest.raises(ConfigurationError, match="one of them") as caught:
        load(options)
    assert caught.value.exit_code == 2
    assert caught.value.from_option == (source == "option")


def test_collectors_are_switched_by_the_highest_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is decided by itself, by whoever stands nearest to the command."""
    monkeypatch.setenv("PROMETHEUS_METRICS_NO_COLLECTORS", "gc,system")
    config = load({"collector": ["gc"]}, PROMETHEUS_METRICS_COLLECTORS=["system", "process"])
    switches = {name: switch.on for name, switch in config.collectors.items()}
    assert switches == {"gc": True, "system": False, "process": True}


def test_a_collector_both_on_and_off_contradicts() -> None:
    """Whoever switches one collector on and off in one breath is asked which is meant."""
    with pytest.raises(ConfigurationError, match="'gc'"):
        load({"collector": ["gc"], "no_collector": ["gc"]})


@pytest.mark.parametrize(
    ("options", "environment", "written", "label"),
    [
        ({"port": "80a"}, "80b", "80c", "--port"),
        ({}, "80b", "80c", f"environment variable {PORT}"),
        ({}, "", "80c", f"setting {PORT}"),
    ],
)
def test_an_error_says_where_the_wrong_value_stands(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    environment: str,
    written: str,
    label: str,
) -> None:
    """A wrong value is named with its place and with what it should be, in one sentence."""
    monkeypatch.setenv(PORT, environment)
    with pytest.raises(ConfigurationError, match=r"it should be a whole number") as caught:
        load(options, **{PORT: written})
    assert str(caught.value).startswith(f"{label} is '80")
    assert "\n" not in str(caught.value)


def test_a_configuration_does_not_change_during_a_run() -> None:
    """What was announced at the start stays true."""
    with pytest.raises(FrozenInstanceError):
        load().ports = (1,)  # type: ignore[misc]


@pytest.mark.parametrize("setting", conf.SETTINGS, ids=lambda each: each.name)
def test_every_default_is_a_value_that_may_be_written(setting: Setting[Any]) -> None:
    """A default can be copied into settings.py and means the same there."""
    if setting.default not in (None, ()) or setting.name.endswith("COLLECTORS"):
        assert setting.parse(setting.default) == setting.default


def test_a_wrong_value_never_stops_a_worker() -> None:
    """A worker goes on with the default where a setting is wrong; the check has said so."""
    with override_settings(PROMETHEUS_LATENCY_BUCKETS=[3, 2, 1]):
        found = worker_settings.LATENCY_BUCKETS.resolve_or_default()
    assert found == worker_settings.DEFAULT_BUCKETS


def test_every_wrong_value_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look tells all that is wrong, instead of one error per try."""
    monkeypatch.setenv("PROMETHEUS_METRICS_LOG_FORMAT", "xml")
    wrong = {PORT: "80a", "PROMETHEUS_METRIC_NAMESPACE": "1st", RANGE: None}
    with override_settings(**wrong):
        messages = "\n".join(str(each) for each in conf.find_wrong_values())
    for name in ("LOG_FORMAT", "EXPORT_PORT", "NAMESPACE"):
        assert messages.count(name) == 1
