"""runmetrics with a wrong configuration, and --once, through Django's call_command."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from metrics_commands.multiprocess.directory import LOCK
from tests.processes import clean_environment, parse_samples, run_manage, sample

# The options, what the error names, and what it asks for.
WRONG_OPTIONS = [
    (["--port", "70000"], "--port", "whole number"),
    (["--port", "80a"], "--port", "whole number"),
    (["--port=-1"], "--port", "whole number"),
    (["--port", ""], "--port", "whole number"),
    (["--port-range", "8010-8001"], "--port-range", "reversed"),
    (["--port-range", "8001"], "--port-range", "8001-8050"),
    (["--port", "1", "--port-range", "1-2"], "--port-range", "one of them"),
    (["--address", "1.2.3"], "--address", "IP address"),
    (["--address", "[]"], "--address", "IP address"),
    (["--port-wait", "soon"], "--port-wait", "forever"),
    (["--telemetry-path", "metrics"], "--telemetry-path", "/metrics"),
    (["--log-format", "xml"], "--log-format", "json"),
    (["--metrics-dir", ""], "--metrics-dir", "path of a directory"),
    (["--collector", "nope"], "--collector", "system"),
    (["--no-collector", "nope"], "--no-collector", "system"),
    (["--collector", "gc", "--no-collector", "gc"], "--no-collector", "one of them"),
]


def refuse(directory: Path, *options: str) -> str:
    """Call runmetrics, expect that nothing starts, and return its one sentence."""
    with pytest.raises(CommandError) as caught:
        call_command("runmetrics", "--metrics-dir", str(directory), *options)
    assert caught.value.returncode == 2
    assert not directory.exists()
    listening = [
        each for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN
    ]
    assert listening == []
    message = str(caught.value)
    assert message.isprintable()
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(("options", "named", "asked"), WRONG_OPTIONS)
def test_a_wrong_option_is_refused_before_anything_starts(
    tmp_path: Path, options: list[str], named: str, asked: str
) -> None:
    """A wrong option ends the command with one sentence that says what it should be."""
    message = refuse(tmp_path / "metrics", *options)
    assert named in message
    assert "it should be" in message
    assert asked in message


@pytest.mark.parametrize("value", [70000, "80a", True, 80.5, [8001], 10**5000], ids=type)
def test_a_wrong_setting_is_refused(tmp_path: Path, value: object) -> None:
    """A wrong value in settings.py is named as such."""
    wrong = {"PROMETHEUS_METRICS_EXPORT_PORT_RANGE": None, "PROMETHEUS_METRICS_EXPORT_PORT": value}
    with override_settings(**wrong):
        message = refuse(tmp_path / "metrics")
    assert message.startswith("setting PROMETHEUS_METRICS_EXPORT_PORT is ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMETHEUS_METRICS_EXPORT_PORT", "70000"),
        ("PROMETHEUS_METRICS_EXPORT_PORT_RANGE", "9-1"),
        ("PROMETHEUS_METRICS_EXPORT_ADDRESS", "host:80"),
        ("PROMETHEUS_METRICS_COLLECTORS", "gc,nope"),
        ("PROMETHEUS_METRICS_LOG_FORMAT", "\x1b[2J"),
    ],
)
def test_a_wrong_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    """A wrong environment variable is named as such, its control characters escaped."""
    monkeypatch.setenv(name, value)
    assert f"environment variable {name}" in refuse(tmp_path / "metrics")


def test_the_shell_sees_exit_code_and_sentence_only(tmp_path: Path) -> None:
    """On the terminal a wrong option is one line: no usage block, no traceback."""
    answer = run_manage(clean_environment(tmp_path), "runmetrics", "--port", "70000")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert len(answer.stderr.splitlines()) == 1
    assert "--port is '70000'" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_does_not_resolve_is_an_answer(tmp_path: Path) -> None:
    """A host name is looked up only at the start, and an unknown one exits 1."""
    options = ["--metrics-dir", str(tmp_path), "--port", "0", "--address", "nowhere.invalid"]
    with pytest.raises(CommandError, match="does not resolve") as caught:
        call_command("runmetrics", *options, stderr=StringIO())
    assert caught.value.returncode == 1


def test_once_writes_one_scrape_and_nothing_else(tmp_path: Path) -> None:
    """--once is a scrape for a pipe: it parses, holds no port and takes no lock."""
    out, log = StringIO(), StringIO()
    call_command("runmetrics", "--once", "--metrics-dir", str(tmp_path), stdout=out, stderr=log)
    samples = parse_samples(out.getvalue())
    assert sample(samples, "django_exporter_collector_success", collector="system") == 1.0
    assert sample(samples, "process_resident_memory_bytes") is not None
    # What readers and whoever folds agree by comes with the directory.
    assert [each.name for each in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize(
    ("options", "on"), [(["--no-collector", "gc"], False), (["--collector", "gc"], True)]
)
def test_a_collector_is_switched_by_option(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], on: bool
) -> None:
    """A collector that is off costs nothing and shows nothing, whatever the environment says."""
    name = "PROMETHEUS_METRICS_NO_COLLECTORS" if on else "PROMETHEUS_METRICS_COLLECTORS"
    monkeypatch.setenv(name, "gc")
    out = StringIO()
    arguments = ["--once", "--metrics-dir", str(tmp_path), *options]
    call_command("runmetrics", *arguments, stdout=out, stderr=StringIO())
    shown = sample(
        parse_samples(out.getvalue()), "django_exporter_collector_success", collector="gc"
    )
    assert (shown is not None) == on


def test_once_without_a_directory_says_which_line_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a directory the exporter's own numbers come, and the log tells what is missing."""
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    out, log = StringIO(), StringIO()
    call_command("runmetrics", "--once", stdout=out, stderr=log)
    assert "use_metrics_directory(" in log.getvalue()
    assert parse_samples(out.getvalue())
