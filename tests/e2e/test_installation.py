"""A stranger installs the app into a project of his own, by the README's words alone."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import BIN, ROOT, clean_environment, fetch, free_port, run, scrape, started

README = (ROOT / "README.md").read_text()
SECTION = README.split("## In your project")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what is needed to build, so that building leaves nothing in the project."""
    copy = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "metrics_commands",
        copy / "metrics_commands",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "project", copy / "project")
    shutil.copytree(ROOT / "tests", copy / "tests")
    return copy


def test_the_wheel_holds_the_app_alone(source: Path, tmp_path: Path) -> None:
    """Neither the shop nor the tests are installed, and the types are."""
    environment = clean_environment(tmp_path)
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--outdir",
        tmp_path,
        source,
    ]
    done = run(build, environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("django_runmetrics-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        "metrics_commands"
    }
    assert "metrics_commands/py.typed" in names


def code_blocks(language: str) -> list[str]:
    """Return the code of the section, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


def test_the_readme_is_enough(source: Path, tmp_path: Path) -> None:
    """pip install, startproject, and the blocks of the README in their places: it works."""
    environment = clean_environment(tmp_path) | {"PYTHONPATH": ""}
    python = tmp_path / "venv" / "bin" / "python"
    assert run([sys.executable, "-m", "venv", tmp_path / "venv"], environment).returncode == 0
    install, commands = code_blocks("console")
    assert install == "pip install django-runmetrics\n"
    done = run([python, "-m", "pip", "install", "--quiet", source], environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    site = tmp_path / "site"
    site.mkdir()
    start: list[str | Path] = [python, "-m", "django", "startproject", "mysite", site]
    assert run(start, environment, cwd=tmp_path).returncode == 0
    top, end = code_blocks("python")
    settings = site / "mysite" / "settings.py"
    written = settings.read_text()
    base = next(line for line in written.splitlines() if line.startswith("BASE_DIR = "))
    settings.write_text(written.replace(base, f"{base}\n\n{top}") + end)

    for line in ("python manage.py check --fail-level WARNING", commands.splitlines()[0]):
        done = run([python, *line.split()[1:]], environment, cwd=site)
        assert done.returncode == 0, done.stdout + done.stderr
    port = free_port()
    web: list[str | Path] = [python, "manage.py", "runserver", "--noreload", str(port)]
    line = commands.splitlines()[1]
    with (
        started([python, *line.split()[1:]], environment, cwd=site) as exporter,
        started(web, environment, cwd=site) as server,
    ):
        url = exporter.wait_for(r"Serving (http://\S+)")[1]
        server.wait_for("Starting development server")
        assert fetch(f"http://127.0.0.1:{port}/")[0] == 200
        samples = scrape(url)
        key = ("django_http_requests_before_middlewares_total", frozenset[tuple[str, str]]())
        assert samples[key] == 1


def test_the_demo_sends_nothing_to_a_stranger(tmp_path: Path) -> None:
    """Where the shop's port is taken, nobody there is visited in its place."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        command = ["make", "--old-file", "prepare", "demo", f"BIN={BIN}", f"PORT={port}"]
        done = run(command, clean_environment(tmp_path))
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    assert done.returncode == 2
    assert f"Port {port}, which the shop wants, is taken." in done.stderr
