"""What a project's files say about the exporter's port, asked of checkports in their folder."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from metrics_commands.directory import decision
from tests.commands.test_checkports import PORT, RANGE, ask, list_tree
from tests.processes import BIN, ROOT, clean_environment, run

GUNICORN = "web: gunicorn shop.wsgi --bind 0.0.0.0:8000\n"
COMPOSE = """\
services:
  web:
    build: .
    command: gunicorn shop.wsgi --bind 0.0.0.0:8000
    volumes: ["metrics:/run/metrics"]
    environment: {PROMETHEUS_MULTIPROC_DIR: /run/metrics}
  exporter:
    build: .
    network_mode: "service:web"
    command: python manage.py runmetrics --port 8000
    volumes: ["metrics:/run/metrics"]
    environment: {PROMETHEUS_MULTIPROC_DIR: /run/metrics}
volumes: {metrics: {}}
"""
MANAGE = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty project, whose metrics directory is that of the settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decision, "path", tmp_path / "metrics")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    """Write the files of a project."""
    for name, content in files.items():
        (folder / name).write_text(content)


def find(answer: dict[str, Any], *ids: str) -> list[dict[str, Any]]:
    """Return the findings with one of these ids; without, those above info."""
    return [
        each
        for each in answer["findings"]
        if (each["id"][-4:] in ids if ids else each["severity"] != "info")
    ]


def apply(folder: Path, change: dict[str, Any]) -> None:
    """Write the line of a change where it belongs, as a person would."""
    path = folder / change["place"]["file"]
    lines = path.read_text().splitlines()
    old = lines[change["place"]["line"] - 1]
    margin = old[: len(old) - len(old.lstrip())]
    new = [margin + each for each in change["write"].split("\n")]
    lines[change["place"]["line"] - 1 : change["place"]["line"]] = new
    path.write_text("\n".join(lines) + "\n")


CLASHES = {
    "Procfile": (
        {"Procfile": GUNICORN + "worker: python manage.py runmetrics --port 8000\n"},
        ["Procfile:2", "Procfile:1"],
    ),
    "environment in a Procfile": (
        {"Procfile": GUNICORN + f"worker: env {PORT}=8000 python manage.py runmetrics\n"},
        ["environment of Procfile:2", "Procfile:1"],
    ),
    "range in a Procfile": (
        {
            "Procfile": "a: uvicorn a:b --host 0.0.0.0 --port 8002\nb: gunicorn c --bind :8004\n"
            "worker: manage.py runmetrics --port-range 8001-8003\n"
        },
        ["Procfile:3", "Procfile:1"],
    ),
    "gunicorn.conf.py": (
        {
            "gunicorn.conf.py": 'workers = 2\nbind = "0.0.0.0:8000"\n',
            "Procfile": "web: gunicorn shop.wsgi\nworker: manage.py runmetrics --port 8000\n",
        },
        ["Procfile:2", "gunicorn.conf.py:2"],
    ),
    "compose": ({"compose.yaml": COMPOSE}, ["compose.yaml:10", "compose.yaml:4"]),
    "compose with a list": (
        {
            "compose.yaml": COMPOSE.replace("bind 0.0.0.0:8000", "bind :8001").replace(
                "python manage.py runmetrics --port 8000", '["manage.py", "runmetrics"]'
            )
        },
        ["compose.yaml:10", "compose.yaml:4"],
    ),
    "compose with items": (
        {
            "compose.yaml": COMPOSE.replace("bind 0.0.0.0:8000", "bind :8001").replace(
                "command: python manage.py runmetrics --port 8000",
                "command:\n      - manage.py\n      - runmetrics",
            )
        },
        ["compose.yaml:12", "compose.yaml:4"],
    ),
}


@pytest.mark.parametrize(("files", "places"), CLASHES.values(), ids=CLASHES)
@pytest.mark.parametrize("which", [0, 1])
def test_either_line_ends_the_clash(
    folder: Path, files: dict[str, str], places: list[str], which: int
) -> None:
    """Django and the exporter on one port are one error with both places; each line ends it."""
    write(folder, files)
    with override_settings(**{RANGE: None}):
        code, answer = ask("--fail-level", "ERROR")
        (found,) = find(answer, "W017")
        assert (code, found["severity"]) == (1, "error")
        assert "macOS lets both start" in found["why"]
        named = [f"{each['place']['file']}:{each['place']['line']}" for each in found["changes"]]
        assert [each.removesuffix(":0") for each in named] == places
        # A range is told of the port that clashes, at the line that has the range.
        assert all(f"({place.removesuffix(':0')})" in found["what"] for place in places)
        change = found["changes"][which]
        if change["place"]["line"]:
            apply(folder, change)
        else:
            text = (folder / "Procfile").read_text()
            (folder / "Procfile").write_text(text.replace(f"{PORT}=8000", change["write"]))
        assert find(ask()[1], "W017") == []


def test_the_range_of_the_settings_is_no_clash_with_8000(folder: Path) -> None:
    """The shipped combination, Django on 8000 and the exporter from 8001 on, is clean."""
    write(folder, {"Procfile": GUNICORN + "worker: python manage.py runmetrics\n"})
    assert find(ask()[1], "W017") == []


@pytest.mark.parametrize(
    ("setting", "value", "write_instead"),
    [
        (PORT, 8000, f"{PORT} = 8001"),
        (RANGE, range(8000, 8003), f"{RANGE} = range(8003, 8006)"),
        (RANGE, range(8000, 8005, 2), f"{RANGE} = range(8005, 8010, 2)"),
        (RANGE, [8000, 7999, 7998], f"{RANGE} = [8003, 8002, 8001]"),
        (RANGE, "7999-8001", f"{RANGE} = '8002-8004'"),
    ],
)
def test_a_setting_is_rewritten_in_its_own_form(
    folder: Path, setting: str, value: object, write_instead: str
) -> None:
    """A line for settings.py keeps the user's way to write it, and means other ports."""
    write(folder, {"Procfile": GUNICORN})
    with override_settings(**{RANGE: None, setting: value}):
        (found,) = find(ask()[1], "W017")
    ours, theirs = found["changes"]
    assert ours["write"] == write_instead
    assert theirs["place"] == {"file": "Procfile", "line": 1}


def test_without_files_the_environment_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that a shell starts by hand, told by GUNICORN_CMD_ARGS, is a neighbour too."""
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--bind 0.0.0.0:8001")
    with override_settings(**{RANGE: None}):
        (found,) = find(ask()[1], "W017")
    assert "environment variable GUNICORN_CMD_ARGS" in found["what"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (PORT, "80a"),
        (PORT, "\N{SNOWMAN}"),
        (RANGE, "9-1"),
        ("PROMETHEUS_METRICS_EXPORT_ADDRESS", "'a b'"),
        ("PROMETHEUS_MULTIPROC_DIR", "' '"),
    ],
)
def test_a_wrong_variable_of_a_line_is_a_finding(folder: Path, name: str, value: str) -> None:
    """A mistake in the line that starts the exporter is told with its place."""
    write(folder, {"Procfile": f"worker: {name}={value} python manage.py runmetrics\n"})
    code, answer = ask()
    (found,) = find(answer, "W001")
    assert (code, found["severity"]) == (1, "error")
    assert found["what"].startswith(f"Procfile:1: environment variable {name} is ")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [("--port 8000 --port-range 8001-8002", "both given"), ("--port eight", "--port is 'eight'")],
)
def test_wrong_options_of_a_line_are_a_finding(folder: Path, options: str, wrong: str) -> None:
    """A line that would exit 2 is told beforehand; the question itself can be answered."""
    write(folder, {"Procfile": f"worker: python manage.py runmetrics {options}\n"})
    code, answer = ask()
    (found,) = find(answer, "W001")
    assert code == 1
    assert wrong in found["what"]


def test_a_container_that_nobody_reaches_is_told(folder: Path) -> None:
    """Loopback inside a container is told, with a line that ends it; so is a missing volume."""
    text = COMPOSE.replace('    network_mode: "service:web"\n', "")
    write(folder, {"compose.yaml": text.replace("volumes: [", "x-volumes: [", 1)})
    found = find(ask()[1], "W013", "W020")
    assert [each["id"][-4:] for each in found] == ["W020", "W013"]
    apply(folder, found[1]["changes"][0])
    assert [each["id"][-4:] for each in find(ask()[1], "W013", "W020")] == ["W020"]
    write(folder, {"compose.yaml": text.replace("runmetrics", "runmetrics --address 0.0.0.0")})
    assert find(ask()[1], "W013", "W017", "W020") == []


def test_a_line_with_another_directory_is_told(folder: Path) -> None:
    """An exporter that reads elsewhere than the workers write would serve nothing."""
    write(folder, {"Procfile": "worker: manage.py runmetrics --metrics-dir /elsewhere\n"})
    (found,) = find(ask()[1], "W030")
    assert "/elsewhere" in found["what"]
    assert str(folder / "metrics") in found["what"]


def test_it_reads_the_folder_of_manage_py(folder: Path) -> None:
    """The Procfile beside manage.py counts, wherever it is called from; settings have a line."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    write(folder, {
        "manage.py": MANAGE,
        "base.py": 'SECRET_KEY = "x"\nINSTALLED_APPS = ["metrics_commands"]\n'
        "from metrics_commands.directory import use_metrics_directory\n"
        f"use_metrics_directory({str(folder / 'metrics')!r})\n{PORT} = 8000\n",
        "deployment.py": "from base import *\nDEBUG = False\n",
        "Procfile": GUNICORN,
    })  # fmt: skip
    environment = clean_environment(
        folder, DJANGO_SETTINGS_MODULE="deployment", PYTHONPATH=str(ROOT)
    )
    answer = run([sys.executable, folder / "manage.py", "checkports"], environment, cwd=elsewhere)
    assert (answer.returncode, answer.stderr) == (1, "")
    assert f"({folder / 'base.py'}:5)" in answer.stdout
    assert "(Procfile:1)" in answer.stdout
    assert f"    {folder / 'base.py'}:5: {PORT} = 8001\n" in answer.stdout


def test_a_fresh_project_is_clean(tmp_path: Path) -> None:
    """Django's startproject with the lines of the README has nothing above info to correct."""
    # A port of the kernel's would be one of those that it gives to outgoing connections.
    environment = clean_environment(
        tmp_path, PYTHONPATH=str(ROOT), PYTHONDONTWRITEBYTECODE="1", **{RANGE: "8001-8050"}
    )
    made = run([BIN / "django-admin", "startproject", "mysite", "."], environment, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    readme = (ROOT / "README.md").read_text().partition("## In your project")[2]
    top, end = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[:2]
    (procfile,) = re.findall(r"^web: .*\nworker: .*\n", readme, re.MULTILINE)
    (tmp_path / "Procfile").write_text(procfile)
    settings = tmp_path / "mysite" / "settings.py"
    base = "BASE_DIR = Path(__file__).resolve().parent.parent\n"
    written = settings.read_text()
    assert base in written
    settings.write_text(written.replace(base, base + top) + end)
    before = list_tree(tmp_path)
    answer = run(
        [sys.executable, "manage.py", "checkports", "--fail-level", "WARNING"],
        environment,
        cwd=tmp_path,
    )
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    assert "W021" in answer.stdout
    assert list_tree(tmp_path) == before
