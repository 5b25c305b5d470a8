"""Every other command works while web and exporter are up, and opens no port."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_deployment import procfile
from tests.e2e.traffic import wait_for_web
from tests.processes import BIN, ROOT, fetch, free_port, run, started, wait_until

# Python reports every bind() of a process to this hook, whatever library does it.
WITNESS = """
import json, os, sys

def note(event, arguments):
    if event == "socket.bind":
        with open(os.environ["WITNESS"], "a") as file:
            file.write(json.dumps([sys.argv, repr(arguments[1])]) + "\\n")

sys.addaudithook(note)
"""
WRONG_SETTINGS = """
from project.settings import *

PROMETHEUS_METRICS_EXPORT_ADDRESS = 8001
PROMETHEUS_METRICS_EXPORT_PORT = "80a"
PROMETHEUS_METRICS_EXPORT_PORT_RANGE = ["8001"]
PROMETHEUS_METRICS_PORT_WAIT = "soon"
PROMETHEUS_MULTIPROC_DIR = 7
PROMETHEUS_METRICS_TELEMETRY_PATH = "metrics"
PROMETHEUS_METRICS_COLLECTORS = 3
PROMETHEUS_METRICS_NO_COLLECTORS = {"a": 1}
PROMETHEUS_METRICS_LOG_FORMAT = "xml"
PROMETHEUS_METRIC_NAMESPACE = "9 lives"
PROMETHEUS_LATENCY_BUCKETS = [3, 2, 1]
"""
COMMANDS = (
    ("shell", "-c", "print('alive')"),
    ("migrate",),
    ("check",),
    ("test", "project.shop"),
    ("makemigrations", "--check"),
)


@pytest.fixture
def witnessed(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Return an environment whose Python processes note every port that they bind."""
    folder = tmp_path / "witness"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITNESS)
    (folder / "wrong.py").write_text(WRONG_SETTINGS)
    return environment | {"PYTHONPATH": f"{folder}:{ROOT}", "WITNESS": str(folder / "binds")}


def list_binds(environment: dict[str, str]) -> list[tuple[list[str], str]]:
    """Return arguments and address of every bind that was noted."""
    try:
        lines = Path(environment["WITNESS"]).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [tuple(json.loads(line)) for line in lines]


@pytest.mark.parametrize("settings", ["project.settings", "wrong"])
def test_commands_work_and_bind_nothing(
    environment: dict[str, str], witnessed: dict[str, str], settings: str
) -> None:
    """Shell, migrate, check and test live beside a deployment, also with all settings wrong."""
    with procfile(environment) as (_, port, _):
        wait_for_web(port)
        chosen = witnessed | {"DJANGO_SETTINGS_MODULE": settings}
        for command in COMMANDS:
            done = run([BIN / "python", "manage.py", *command], chosen)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr, command
        assert list_binds(witnessed) == []


def test_wrong_settings_are_warnings_with_advice(witnessed: dict[str, str]) -> None:
    """``check`` names each wrong setting and ends well; the exporter refuses to start."""
    environment = {
        name: value for name, value in witnessed.items() if not name.startswith("PROMETHEUS_")
    } | {"DJANGO_SETTINGS_MODULE": "wrong"}
    done = run([BIN / "python", "manage.py", "check"], environment)
    assert done.returncode == 0
    named = set(re.findall(r"setting (PROMETHEUS_\w+) is", done.stderr))
    written = set(re.findall(r"^(PROMETHEUS_\w+) =", WRONG_SETTINGS, re.MULTILINE))
    assert named == written
    refused = run([BIN / "python", "manage.py", "runmetrics"], environment)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    checked = run([BIN / "python", "manage.py", "checkports"], environment)
    assert checked.returncode == 1


@pytest.mark.parametrize("settings", ["project.settings", "wrong"])
def test_runserver_with_autoreload_binds_its_own_port_alone(
    environment: dict[str, str], witnessed: dict[str, str], settings: str
) -> None:
    """The development server reloads beside a deployment, and nothing of ours binds in it."""
    port = free_port()
    module = Path(witnessed["WITNESS"]).parent / "wrong.py"
    chosen = witnessed | {"DJANGO_SETTINGS_MODULE": settings}
    with procfile(environment) as (_, web, _):
        wait_for_web(web)
        with started([BIN / "python", "manage.py", "runserver", str(port)], chosen) as server:
            wait_for_web(port)
            (child,) = psutil.Process(server.pid).children()
            assert fetch(f"http://127.0.0.1:{port}/about/")[0] == 200
            if settings == "wrong":
                times = itertools.count(int(module.stat().st_mtime) + 1)
                wait_until(lambda: touch_until_replaced(module, next(times), child))
                wait_for_web(port)
            # Not SIGINT, which a shell's background jobs ignore.
            server.stop()
    assert {address for _, address in list_binds(witnessed)} == {f"('127.0.0.1', {port})"}


def touch_until_replaced(module: Path, time: int, child: psutil.Process) -> bool:
    """Change a file, whose first state the reloader may not know yet; tell if its child left."""
    if not child.is_running() or child.status() == psutil.STATUS_ZOMBIE:
        return True
    os.utime(module, (time, time))
    return False
