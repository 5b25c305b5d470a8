"""checkports with a wrong configuration, and the shape of its answer, through call_command."""

from __future__ import annotations

import json
import os
import socket
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.commands.test_runmetrics import WRONG_OPTIONS
from tests.processes import ROOT, clean_environment, free_port, run_manage

SCHEMA = json.loads((ROOT / "docs" / "checkports.schema.json").read_text())
PORT = "PROMETHEUS_METRICS_EXPORT_PORT"
RANGE = "PROMETHEUS_METRICS_EXPORT_PORT_RANGE"


def ask(*options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of checkports and its answer."""
    out = StringIO()
    code = 0
    try:
        call_command("checkports", "--json", *options, stdout=out)
    except SystemExit as end:
        code = int(str(end.code))
    answer: dict[str, Any] = json.loads(out.getvalue())
    jsonschema.validate(answer, SCHEMA, format_checker=jsonschema.FormatChecker())
    return code, answer


@pytest.mark.parametrize(("options", "named", "asked"), WRONG_OPTIONS)
def test_a_wrong_option_cannot_be_answered(options: list[str], named: str, asked: str) -> None:
    """A wrong command line exits 2 with the sentence that runmetrics says."""
    with pytest.raises(CommandError) as caught:
        call_command("checkports", *options)
    assert caught.value.returncode == 2
    assert named in str(caught.value)
    assert asked in str(caught.value)


@pytest.mark.parametrize("source", ["setting", "environment variable"])
def test_a_wrong_configuration_is_a_finding(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """What is wrong in settings.py or the environment is the answer, and exits 1."""
    written: str | None = "80a"
    if source == "environment variable":
        monkeypatch.setenv(PORT, "80a")
        written = None
    with override_settings(**{RANGE: None, PORT: written}):
        code, answer = ask()
    assert (code, answer["good"], answer["ports"]) == (1, False, [])
    (finding,) = answer["findings"]
    assert (finding["id"], finding["severity"]) == ("metrics_commands.W001", "error")
    assert finding["what"].startswith(f"{source} {PORT} is '80a': it should be ")


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to run it once for each mistake; an unknown collector is among them."""
    monkeypatch.setenv("PROMETHEUS_METRICS_PORT_WAIT", "soon")
    with override_settings(PROMETHEUS_METRICS_LOG_FORMAT="xml"):
        code, answer = ask()
    assert code == 1
    assert len(answer["findings"]) == 2
    monkeypatch.setenv("PROMETHEUS_METRICS_PORT_WAIT", "1")
    monkeypatch.setenv("PROMETHEUS_METRICS_COLLECTORS", "nope")
    assert "'nope'" in ask()[1]["findings"][0]["what"]


def test_the_shell_sees_findings_and_exit_code(tmp_path: Path) -> None:
    """On the terminal a finding is a line of the answer: no usage block, no traceback."""
    answer = run_manage(clean_environment(tmp_path, **{PORT: "70000"}), "checkports")
    assert (answer.returncode, answer.stderr) == (1, "")
    assert answer.stdout.startswith(f"ERROR: environment variable {PORT} is '70000'")
    assert list(tmp_path.iterdir()) == []


def test_a_free_port_is_a_good_answer(tmp_path: Path) -> None:
    """A machine reads of every port where it is, how it is and why."""
    port = free_port()
    code, answer = ask("--port", str(port), "--metrics-dir", str(tmp_path))
    assert (code, answer["good"]) == (0, True)
    (seen,) = answer["ports"]
    assert (seen["address"], seen["port"], seen["state"]) == ("127.0.0.1", port, "free")
    assert seen["owner"] is None
    assert f"http://127.0.0.1:{port}/metrics" in answer["advice"]
    assert answer["urls"] == [f"http://127.0.0.1:{port}/metrics"]
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_a_bad_answer_with_its_owner() -> None:
    """A machine reads who holds the port, and the exit code says that it will not work."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, answer = ask("--port", str(port))
    assert (code, answer["good"]) == (1, False)
    (seen,) = answer["ports"]
    assert (seen["port"], seen["state"]) == (port, "taken")
    assert seen["owner"]["pid"] == os.getpid()
    assert f"127.0.0.1:{port}" in seen["sentence"]
    assert answer["advice"]


def test_a_name_that_does_not_resolve_is_a_finding() -> None:
    """A host name that nobody knows is found before the exporter is started."""
    code, answer = ask("--address", "nowhere.invalid", "--port", "0")
    assert (code, answer["good"], answer["ports"]) == (1, False, [])
    assert any("nowhere.invalid" in each["what"] for each in answer["findings"])


@pytest.mark.parametrize(
    ("options", "environment", "written", "ports"),
    [
        (["--port", "0"], {RANGE: "64001-64002"}, {RANGE: range(64003, 64005)}, [0]),
        (["--port-range", "64001-64002"], {PORT: "0"}, {PORT: 0}, [64001, 64002]),
        ([], {PORT: "0"}, {RANGE: range(64003, 64005)}, [0]),
        ([], {RANGE: "64001-64002"}, {PORT: 0}, [64001, 64002]),
        ([], {}, {RANGE: range(64003, 64005)}, [64003, 64004]),
        ([], {}, {RANGE: None}, [8001]),
    ],
)
def test_it_looks_where_runmetrics_would(
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    environment: dict[str, str],
    written: dict[str, Any],
    ports: list[int],
) -> None:
    """Option, then environment, then setting, then default decide which ports are looked at."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with override_settings(**written):
        _, answer = ask(*options)
    assert [each["port"] for each in answer["ports"]] == ports
