"""What checkports says of the lines that will start the exporter, and of their real ports."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import pytest
from django.test import override_settings

from metrics_commands.directory import decision
from tests.commands.test_checkports import PORT, RANGE, ask
from tests.commands.test_neighbours import find, write
from tests.ports.test_activation import ACTIVATE, activated
from tests.processes import ROOT, clean_environment, run, run_manage, started

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty project, whose metrics directory is that of the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decision, "path", tmp_path / "metrics")
    monkeypatch.setenv(DIRECTORY, str(tmp_path / "metrics"))
    return tmp_path


def test_the_port_of_a_line_is_tried_and_judged(folder: Path) -> None:
    """A line's port that somebody holds is an error, though the settings' own port is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        line = f"metrics: manage.py runmetrics --port {port}"
        write(folder, {"Procfile": f"{line}\n"})
        with override_settings(**{RANGE: None, PORT: 9100}):
            code, answer = ask()
    assert (code, answer["urls"]) == (1, [])
    assert [each["port"] for each in answer["ports"]] == [port]
    (found,) = find(answer, "W016")
    assert "Procfile:1" in found["what"]
    assert "will serve" not in answer["advice"]
    assert len(find(answer, "W014")) == 1
    assert find(answer, "W012") == []


def test_what_will_be_started_is_foretold(folder: Path) -> None:
    """The URL is that of the line; an option of the question is looked at in its place."""
    write(folder, {"Procfile": "m: manage.py runmetrics --port 9100 --telemetry-path /m\n"})
    answer = ask()[1]
    assert answer["urls"] == ["http://127.0.0.1:9100/m"]
    assert "Procfile:1" in answer["advice"]
    assert len(find(answer, "W012")) == 1
    assert [each["port"] for each in ask("--port", "0")[1]["ports"]] == [0]


def test_containers_alone_leave_this_machine_alone(folder: Path) -> None:
    """Where only containers run the exporter, nobody's port of this machine is in the way."""
    service = "{command: manage.py runmetrics --address 0.0.0.0, image: x}"
    write(folder, {"compose.yaml": f"services: {{metrics: {service}}}\n"})
    code, answer = ask()
    assert (code, answer["ports"], answer["urls"]) == (0, [], [])
    assert "containers" in answer["advice"]


def test_no_promise_stands_under_an_error(folder: Path) -> None:
    """Who reads the last line alone is not told that it will work."""
    write(folder, {"Procfile": "web: gunicorn -b :9701 x\nm: manage.py runmetrics --port 9701\n"})
    code, answer = ask()
    assert (code, answer["urls"]) == (1, [])
    assert answer["advice"].startswith("Correct the errors")
    with override_settings(SILENCED_SYSTEM_CHECKS=["metrics_commands.W017"]):
        code, answer = ask()
    assert (code, len(answer["urls"])) == (0, 1)


# The parent holds the socket, and the child becomes the exporter.
KEEP = ACTIVATE.replace(
    "for number in range(3,", "if os.fork():\n    sys.exit(os.wait()[1])\nfor number in range(3,"
)
LINE = "manage.py runmetrics --port"


@pytest.mark.parametrize(
    ("procfile", "ids"),
    [
        (f"a: {LINE} 9701\nb: {LINE} 9702\n", {"W031"}),
        (f"a: {LINE} 9701\nb: {LINE} 9701\n", {"W017", "W031"}),
        (f"a: {LINE} 9701\nb: {LINE} 9702 --metrics-dir /other\n", {"W030"}),
        (f"a: {LINE} 9701\n", set()),
    ],
)
def test_two_exporters_are_compared(folder: Path, procfile: str, ids: set[str]) -> None:
    """One port for two is an error; two for one directory are one too many."""
    write(folder, {"Procfile": procfile})
    answer = ask()[1]
    assert {each["id"][-4:] for each in find(answer, "W017", "W030", "W031")} == ids


@pytest.mark.parametrize(
    ("procfile", "env", "told"),
    [
        (f"web: gunicorn x\nm: {LINE} 9701\n", f"{DIRECTORY}=/run/numbers\n", ""),
        (f"web: gunicorn x\nm: {DIRECTORY}=/run/other {LINE} 9701\n", "", "gunicorn of 'web'"),
        (f"web: gunicorn x\nm: {LINE} 9701 --metrics-dir /run/other\n", "", "gunicorn of 'web'"),
        (f"m: {LINE} 9701\n", f"{DIRECTORY}=/run/numbers\n", ""),
    ],
)
def test_directories_of_one_file_are_compared(
    folder: Path, procfile: str, env: str, told: str
) -> None:
    """The exporter's directory is that of the web line's process, whatever ours is."""
    write(folder, {"Procfile": procfile, ".env": env})
    found = find(ask()[1], "W030")
    assert len(found) == bool(told)
    assert all(told in each["what"] for each in found)


@pytest.mark.parametrize(
    ("mode", "told"), [("host", 0), ('"service:web"', 1), ("bridge", 1), ("none", 0)]
)
def test_a_sidecar_is_not_reached_on_loopback_either(folder: Path, mode: str, told: int) -> None:
    """Prometheus in another container cannot ask a sidecar's 127.0.0.1."""
    metrics = f"{{image: x, network_mode: {mode}, command: {LINE} 9701}}"
    text = f"services:\n  web: {{image: y}}\n  metrics: {metrics}\n"
    write(folder, {"compose.yaml": text})
    found = find(ask()[1], "W013")
    assert len(found) == told


@pytest.mark.parametrize(
    ("offer", "command", "told"),
    [
        ("expose: [9999]", f"{LINE} 9701", 1),
        ('ports: ["80:9999"]', f"{LINE} 9701", 1),
        ('ports: ["9701:9701"], expose: [9701]', f"{LINE} 9701", 0),
        ('ports: ["80:9999/udp"]', f"{LINE} 9701", 0),
        ('expose: ["9700-9702"]', f"{LINE} 9701", 0),
        ("expose: [9999]", f'sh -c "gunicorn -b :9999 x & {LINE} 9701"', 0),
    ],
)
def test_a_port_that_nobody_serves_is_told(
    folder: Path, offer: str, command: str, told: int
) -> None:
    """Whoever publishes another port than the exporter's learns it before Prometheus does."""
    service = f"{{image: x, command: {command}, {offer}}}"
    write(folder, {"compose.yaml": f"services:\n  metrics: {service}\n"})
    found = find(ask()[1], "W032")
    assert len(found) == told
    assert all("9999" in each["what"] and "listens on 9701" in each["what"] for each in found)


@pytest.mark.parametrize(
    ("files", "options", "clashes"),
    [
        ({}, ["--port", "9701"], 0),
        ({"Procfile": "m: manage.py runmetrics --port $PORT\n"}, [], 0),
        ({}, [], 1),
    ],
)
def test_the_platform_s_port_is_no_rival_of_its_own(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    options: list[str],
    clashes: int,
) -> None:
    """A service whose one process is the exporter listens on PORT, as it is told to."""
    write(folder, files)
    monkeypatch.setenv("PORT", "9701")
    with override_settings(**{RANGE: None, PORT: 9701}):
        assert len(find(ask(*options)[1], "W017")) == clashes


def test_no_secret_is_printed(folder: Path) -> None:
    """Neither the text nor the JSON has a password of the lines that clash."""
    write(folder, {
        "Procfile": f"web: KEY=hunter2 gunicorn -b :9701 --env A=hunter2\nm: {LINE} 9701\n",
        "compose.yaml": "services:\n  db: {environment: {P: hunter2}, ports: ['9701:1']}\n"
        "  b: {environment: {P: hunter2}, ports: ['9701:1']}\n",
    })  # fmt: skip
    _, answer = ask()
    assert len(find(answer, "W017", "W018")) == 4
    assert "hunter2" not in json.dumps(answer)


def test_a_huge_compose_file_has_a_short_answer(folder: Path) -> None:
    """Ranges of many thousand ports, and clashes by the hundred, are told in few lines, soon."""
    relay = '    ports: ["30000-43000:30000-43000"]\n'
    crowd = "".join(f"  c{each}: {{ports: ['9701:1']}}\n" for each in range(600))
    host = f"  m: {{network_mode: host, image: x, command: {LINE}-range 9000-9999}}\n"
    text = f"services:\n  a:\n{relay}  b:\n{relay}{host}{crowd}"
    write(folder, {"compose.yaml": text})
    begin = time.process_time()
    _, answer = ask()
    assert time.process_time() - begin < 2
    assert len(json.dumps(answer, indent=2)) < 1_000_000
    assert answer["left_out"]["neighbours"] > 0
    assert answer["left_out"]["ports"] > 0
    (folder / "manage.py").write_text((ROOT / "manage.py").read_text())
    surroundings = clean_environment(folder, PYTHONPATH=str(ROOT))
    said = run([sys.executable, folder / "manage.py", "checkports"], surroundings, cwd=folder)
    assert 20 < len(said.stdout.splitlines()) < 200


def test_an_exporter_with_systemd_s_socket_is_ours(folder: Path) -> None:
    """The port that systemd holds for the exporter of this directory is no error."""
    # A parent that keeps the socket, as systemd does, and is seen as its first holder.
    keep = [sys.executable, "-c", KEEP, *map(str, activated("listening")[3:])]
    surroundings = clean_environment(folder)
    with started(keep, surroundings) as process:
        port = process.wait_for(r"Serving http://127\.0\.0\.1:(\d+)/")[1]
        answer = json.loads(run_manage(surroundings, "checkports", "--json", "--port", port).stdout)
    assert find(answer, "W016") == []
    (seen,) = answer["ports"]
    assert seen["state"] == "taken"
    assert seen["owner"]["pid"] == process.pid
    assert seen["owner"]["ours"]


def test_sockets_of_systemd_are_not_tried(folder: Path) -> None:
    """With sockets given to this very process the ports of the settings do not matter."""
    command = [each if each != "runmetrics" else "checkports" for each in activated("listening")]
    answer = run([*command, "--port", "1"], clean_environment(folder))
    assert answer.returncode == 0, answer.stdout
    assert "sockets that systemd gives" in answer.stdout
    assert "127.0.0.1:1" not in answer.stdout
