"""checkports with a wrong configuration, and the shape of its answer, through call_command."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.commands.test_runmetrics import WRONG_OPTIONS
from tests.processes import (
    ROOT,
    TIMEOUT,
    clean_environment,
    free_port,
    run,
    run_manage,
    started,
)

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


def find_refusal(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the finding that no port can be had."""
    (found,) = [each for each in answer["findings"] if each["id"] == "metrics_commands.W016"]
    return dict(found)


def test_a_taken_port_comes_with_one_that_is_free() -> None:
    """What to write is a port that stays and can be had, not one that another program holds."""
    with ExitStack() as opened:
        server = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        written = f"--port {server.getsockname()[1]}"
        for _ in range(3):
            (change,) = find_refusal(ask(*written.split())[1])["changes"]
            assert change["place"]["file"] == "command line"
            assert re.fullmatch(r"--port [1-9]\d+", change["write"])
            assert change["write"] != written
            written = change["write"]
            assert ask(*written.split())[0] == 0
            number = int(written.split()[1])
            opened.enter_context(socket.create_server(("127.0.0.1", number)))


def test_a_taken_port_leads_to_none_that_a_neighbour_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next port is skipped where a line of the Procfile will take it."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        option = ("--port", str(server.getsockname()[1]))
        (change,) = find_refusal(ask(*option)[1])["changes"]
        number = change["write"].split()[1]
        (tmp_path / "Procfile").write_text(f"web: gunicorn shop.wsgi --bind 127.0.0.1:{number}\n")
        (change,) = find_refusal(ask(*option)[1])["changes"]
    assert change["write"] != f"--port {number}"


def test_no_port_is_offered_where_the_address_is_the_trouble() -> None:
    """Another port at an address of another machine helps nobody."""
    _, answer = ask("--address", "198.51.100.1", "--port", str(free_port()))
    assert find_refusal(answer)["changes"] == []
    assert "--address" in answer["advice"]


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


@pytest.mark.parametrize(
    ("level", "code"),
    [([], 0), (["CRITICAL"], 0), (["ERROR"], 0), (["WARNING"], 1), (["INFO"], 1), (["DEBUG"], 1)],
)
def test_the_fail_level_decides_what_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: list[str], code: int
) -> None:
    """A deployment that wants no warnings can have its pipeline say so."""
    monkeypatch.chdir(tmp_path)
    fail_level = ["--fail-level", *level] if level else []
    with override_settings(**{PORT: 8001}):
        found, answer = ask("--port", str(free_port()), *fail_level)
    assert "W002" in {each["id"][-4:] for each in answer["findings"]}
    assert (found, answer["good"]) == (code, code == 0)


def test_a_silenced_finding_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SILENCED_SYSTEM_CHECKS names counts neither in the answer nor in the exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Procfile").write_text("web: gunicorn shop.wsgi --bind :8000\n")
    with override_settings(**{RANGE: None, PORT: 8000}):
        answer = ask()[1]
        assert "metrics_commands.W017" in {each["id"] for each in answer["findings"]}
        with override_settings(SILENCED_SYSTEM_CHECKS=["metrics_commands.W017"]):
            answer = ask()[1]
    assert "metrics_commands.W017" not in {each["id"] for each in answer["findings"]}


def test_the_worst_is_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person reads the ports, then errors before warnings before the rest, then what to do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Procfile").write_text("web: gunicorn shop.wsgi --bind :9100\n")
    out = StringIO()
    with (
        override_settings(**{PORT: 8001, RANGE: range(9100, 9101)}),
        pytest.raises(SystemExit) as end,
    ):
        call_command("checkports", stdout=out)
    assert end.value.code == 1
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("127.0.0.1:9100 ")
    severities = [each.split(":")[0] for each in lines if each.split(":")[0].isupper()]
    assert severities == sorted(severities, key=["ERROR", "WARNING", "INFO"].index)
    assert set(severities) == {"ERROR", "WARNING", "INFO"}
    assert lines[-1]


def list_tree(*folders: Path) -> dict[str, tuple[int, ...]]:
    """Return what a change of anything below the folders would change."""
    paths = [each for folder in folders for each in (folder, *folder.rglob("*"))]
    stats = {str(each): each.lstat() for each in paths}
    return {
        name: (each.st_mode, each.st_uid, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
        for name, each in stats.items()
    }


@pytest.mark.parametrize("exists", [True, False], ids=["directory", "no directory"])
def test_it_changes_nothing_and_never_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    """It may run anywhere, as root too: no file, no mode, no time, no listening port changes."""
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    (project / "Procfile").write_text("web: gunicorn a --bind :8000\nm: manage.py runmetrics\n")
    (project / "gunicorn.conf.py").write_text("raise SystemExit('it ran')\n")
    (project / "compose.yaml").write_text("services: {a: {image: a, ports: ['8001:80']}}\n")
    metrics = home / "metrics"
    if exists:
        metrics.mkdir(parents=True)
        (metrics / "counter_1.db").write_bytes(b"")
        (metrics / "exporter.lock").write_text("{}")

    def refuse(opened: socket.socket, backlog: int = 0) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    monkeypatch.chdir(project)
    before = list_tree(tmp_path)
    target = home / "target.json"
    ask("--metrics-dir", str(metrics), "--sd-file", str(target), "--address", "")
    assert list_tree(tmp_path) == before


@pytest.mark.parametrize("json_option", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_that_went_away_is_no_error(tmp_path: Path, json_option: list[str]) -> None:
    """'checkports | head' ends without a traceback."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        gone = subprocess.run(
            [sys.executable, ROOT / "manage.py", "checkports", "--port", "0", *json_option],
            env=clean_environment(tmp_path),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    assert (gone.returncode, gone.stderr) == (0, "")


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """An answer that cannot be written is exit 2 with the reason, not a traceback."""
    command = f"exec '{sys.executable}' '{ROOT}/manage.py' checkports --port 0 >/dev/full"
    answer = run(["/bin/sh", "-c", command], clean_environment(tmp_path))
    assert answer.returncode == 2
    assert answer.stderr.strip() == (
        "CommandError: The answer cannot be written to standard output: No space left on device."
    )


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--port", "{free}"], {}),
        (["--port-range", "{taken}-{last}", "--telemetry-path", "/m"], {}),
        (["--address", "127.0.0.1", "--address", "localhost"], {PORT: "{free}"}),
        (["--address", ""], {PORT: "{free}"}),
    ],
    ids=["port", "range", "addresses", "all addresses"],
)
def test_runmetrics_does_what_was_foretold(
    tmp_path: Path, options: list[str], environment: dict[str, str]
) -> None:
    """The URLs that checkports names are those that the exporter then serves."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        numbers = {"free": free_port(), "taken": taken, "last": min(taken + 20, 65535)}
        written = [each.format_map(numbers) for each in options]
        variables = {name: each.format_map(numbers) for name, each in environment.items()}
        surroundings = clean_environment(tmp_path, **variables)
        answer = json.loads(run_manage(surroundings, "checkports", "--json", *written).stdout)
        command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics", *written]
        with started(command, surroundings) as process:
            served = process.wait_for(r"Serving (http://.+)\n")[1].split(" and ")
    assert answer["urls"] == served
    assert str(taken) not in served[0]
