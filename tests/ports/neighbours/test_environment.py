"""What is said outside any file is found too, and everything together once."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics_commands.finding import Place
from metrics_commands.ports.neighbours.environment import read_environment
from metrics_commands.ports.neighbours.survey import survey

PORT = ("the environment variable PORT", "environment variable PORT", "PORT=7000", "0.0.0.0", 7000)


@pytest.mark.parametrize(
    ("environment", "conf", "expected"),
    [
        ({}, "", []),
        ({"PORT": "7000"}, "", [PORT]),
        ({"PORT": "7000"}, "workers = 2", [PORT]),
        ({"PORT": ""}, "", []),
        ({"PORT": "x"}, "", []),
        ({"PORT": "0"}, "", []),
        (
            {"PORT": "7000", "GUNICORN_CMD_ARGS": "-b :1"},
            "bind = ':2'",
            [("gunicorn", "environment variable GUNICORN_CMD_ARGS", "-b :1", "0.0.0.0", 1)],
        ),
        (
            {"PORT": "7000"},
            "\nbind = 'localhost:' + os.environ['PORT']",
            [("gunicorn", "gunicorn.conf.py:2", "bind = '…' + os.environ['PORT']",
              "localhost", 7000)],
        ),
        ({"GUNICORN_CMD_ARGS": "-b 'unclosed"}, "", []),
        ({"GUNICORN_CMD_ARGS": "-b"}, "", []),
    ],
)  # fmt: skip
def test_a_server_started_by_hand_is_known(
    tmp_path: Path,
    environment: dict[str, str],
    conf: str,
    expected: list[tuple[str, str, str, str, int]],
) -> None:
    """PORT, GUNICORN_CMD_ARGS and gunicorn.conf.py count where no file starts a server."""
    if conf:
        (tmp_path / "gunicorn.conf.py").write_text(conf)
    found = read_environment(environment, tmp_path)
    assert found.findings == []
    assert [(n.what, str(n.place), n.text, n.host, n.port) for n in found.neighbours] == expected


@pytest.mark.parametrize("conf", ["bind = choose()", "bind ="])
def test_a_configuration_that_cannot_be_told_is_a_finding(tmp_path: Path, conf: str) -> None:
    """It is said that the file was not read, rather than nothing."""
    (tmp_path / "gunicorn.conf.py").write_text(conf)
    (finding,) = read_environment({}, tmp_path).findings
    assert finding.id == "metrics_commands.W019"
    assert "gunicorn.conf.py was not read" in finding.what


def test_the_environment_counts_only_without_a_server_line(tmp_path: Path) -> None:
    """Where a Procfile starts the server, PORT is not a second neighbour."""
    procfile = tmp_path / "Procfile"
    procfile.write_text("worker: celery\nmetrics: python manage.py runmetrics\n")
    whole = survey(tmp_path, {"PORT": "7000"})
    assert [each.what for each in whole.neighbours] == ["the environment variable PORT"]
    assert [each.place for each in whole.exporters] == [Place("Procfile", 2)]
    procfile.write_text("web: gunicorn x\n")
    whole = survey(tmp_path, {"PORT": "7000"})
    assert [each.what for each in whole.neighbours] == ["gunicorn of 'web'"]


def test_a_line_counts_once(tmp_path: Path) -> None:
    """Two processes that read one configuration are one place to change."""
    (tmp_path / "gunicorn.conf.py").write_text("bind = ':1'\n")
    (tmp_path / "Procfile").write_text("web: gunicorn x\napi: gunicorn y\n")
    whole = survey(tmp_path, {})
    assert [str(each.place) for each in whole.neighbours] == ["gunicorn.conf.py:1"]


def test_an_empty_folder_says_nothing(tmp_path: Path) -> None:
    """A project without any of these files has no neighbours and no findings."""
    whole = survey(tmp_path, {})
    assert (whole.neighbours, whole.exporters, whole.findings) == ([], [], [])


def test_a_compose_file_is_read_beside_the_procfile(tmp_path: Path) -> None:
    """A published database port does not hide the server that is started by hand."""
    pytest.importorskip("yaml")
    content = "services:\n  db:\n    image: postgres\n    ports:\n      - '5432:5432'\n"
    (tmp_path / "compose.yaml").write_text(content)
    whole = survey(tmp_path, {"PORT": "7000"})
    assert sorted(each.port for each in whole.neighbours) == [5432, 7000]
