"""A Procfile is read as honcho reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from honcho import environ  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.finding import Place
from metrics_commands.ports.neighbours.procfile import parse_env, read_procfile


def read(folder: Path, content: str, **environment: str) -> list[tuple[str, int]]:
    """Return what the lines of a Procfile with this content listen on."""
    (folder / "Procfile").write_bytes(content.encode())
    survey = read_procfile(folder / "Procfile", environment)
    assert survey.findings == []
    return [(each.what, each.port) for each in survey.neighbours]


WEB = "web: gunicorn -b :$PORT x\n"
WEB_OR_8000 = "web: gunicorn -b :${PORT:-8000} x\n"


@pytest.mark.parametrize(
    ("content", "environment", "expected"),
    [
        (WEB, {}, [("gunicorn of 'web'", 5000)]),
        (WEB, {"PORT": "7000"}, [("gunicorn of 'web'", 7000)]),
        ("worker: celery\n" + WEB, {}, [("gunicorn of 'web'", 5100)]),
        ("worker: celery\n" + WEB, {"PORT": "7000"}, [("gunicorn of 'web'", 7100)]),
        (WEB_OR_8000, {}, [("gunicorn of 'web'", 8000)]),
        ("worker: celery\n" + WEB_OR_8000, {"PORT": "7000"}, [("gunicorn of 'web'", 7100)]),
        ("a: ./serve $PORT\nb: ./serve $PORT\n", {}, [("'a'", 5000), ("'b'", 5100)]),
        ("web: gunicorn x", {}, [("gunicorn of 'web'", 5000)]),
        (WEB, {"PORT": "none"}, []),
        ("# web: gunicorn x\n\n not a line\nweb gunicorn x\n", {}, []),
        ("\ufeffweb: gunicorn -b :1 x\r\nb-2_c:./manage.py runserver\r\n", {}, [
            ("gunicorn of 'web'", 1), ("runserver of 'b-2_c'", 8000),
        ]),
    ],
)  # fmt: skip
def test_ports_are_those_of_honcho(
    tmp_path: Path, content: str, environment: dict[str, str], expected: list[tuple[str, int]]
) -> None:
    """Each process type has its own PORT; a line's own default holds where none is set."""
    assert read(tmp_path, content, **environment) == expected


def test_a_dot_env_file_overrules_the_environment(tmp_path: Path) -> None:
    """The file beside the Procfile wins, as it does when honcho starts the processes."""
    (tmp_path / ".env").write_text("PORT=7200\nBIND='0.0.0.0:1'\n")
    content = WEB + "other: gunicorn -b $BIND x\n"
    found = read(tmp_path, content, PORT="7000", BIND=":2")
    assert found == [("gunicorn of 'web'", 7200), ("gunicorn of 'other'", 1)]


def test_the_exporter_sees_what_its_process_would(tmp_path: Path) -> None:
    """The exporter's line has its place, its text and the variables of its process."""
    (tmp_path / ".env").write_text("PROMETHEUS_MULTIPROC_DIR=/run/m\n")
    (tmp_path / "Procfile").write_text(WEB + "metrics: python manage.py runmetrics --port 9\n")
    (exporter,) = read_procfile(tmp_path / "Procfile", {"A": "1"}).exporters
    assert exporter.place == Place("Procfile", 2)
    assert exporter.text == "metrics: python manage.py runmetrics --port 9"
    expected = {"A": "1", "PROMETHEUS_MULTIPROC_DIR": "/run/m", "PORT": "5100"}
    assert exporter.environment == expected


ENV_PIECES = (
    "A", "B", "=", "=", "1", "x y", "'q r'", '"s"', "#", " ", "\n", "\n", "\\n", "\\t", "'",
    "é", "-",
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(ENV_PIECES), max_size=12).map("".join))
def test_dot_env_files_mean_what_honcho_reads(text: str) -> None:
    """Quotes, comments and escapes of a ``.env`` file mean what they mean when it is used."""
    try:
        expected = environ.parse(text)
    except ValueError:
        return
    assert parse_env(text) == expected


def test_exported_variables_are_read() -> None:
    """A file that a shell can source as well is read all the same, past a line that is broken."""
    text = "export A=1\nbroken='\n  export  B = 2 # two\nexport=3\n"
    assert parse_env(text) == {"A": "1", "B": "2", "export": "3"}


UNREADABLE = {
    "pipe": "not a regular file",
    "folder": "not a regular file",
    "binary": "not UTF-8",
    "huge": "more than",
    "loop": "symbolic links",
}


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("Procfile", "missing", "no such file"),
        *((name, *each) for name in ("Procfile", ".env") for each in UNREADABLE.items()),
    ],
)
def test_what_is_no_text_file_is_a_finding(
    tmp_path: Path, name: str, kind: str, reason: str
) -> None:
    """A pipe, a folder or a huge file is neither waited for nor read, and is said."""
    path = tmp_path / name
    if name == ".env":
        (tmp_path / "Procfile").write_text(WEB)
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "binary": lambda: path.write_bytes(b"web: gunicorn \xff\xfe"),
        "huge": lambda: path.write_bytes(b"#" * 1_000_001),
        "missing": lambda: None,
        "loop": lambda: path.symlink_to(path),
    }
    make[kind]()
    survey = read_procfile(tmp_path / "Procfile", {})
    (finding,) = survey.findings
    assert (finding.id, finding.severity) == ("metrics_commands.W019", "warning")
    assert name in finding.what
    assert reason in finding.what
    assert len(survey.neighbours) == (name == ".env")


def test_an_endless_procfile_is_cut_short_and_said(tmp_path: Path) -> None:
    """A Procfile of many thousand lines is read up to a limit, which is reported."""
    (tmp_path / "Procfile").write_text("web: gunicorn -b :1 x\n" * 40_000)
    survey = read_procfile(tmp_path / "Procfile", {})
    assert [each.what for each in survey.findings] == [
        "The rest of Procfile was not read: it has more than 100 processes."
    ]


LINES = st.sampled_from(("web: ", "x:", "gunicorn -b :$PORT", "\n", "\r\n", "${", "'", "=", "\0"))


@settings(max_examples=100, deadline=None)
@given(*[st.binary(max_size=80) | st.lists(LINES | st.text()).map("".join).map(str.encode)] * 2)
def test_any_procfile_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, procfile: bytes, env: bytes
) -> None:
    """Whatever the two files hold, they are read or refused in a finding."""
    folder = tmp_path_factory.getbasetemp()
    (folder / "Procfile").write_bytes(procfile)
    (folder / ".env").write_bytes(env)
    for finding in read_procfile(folder / "Procfile", {}).findings:
        assert "was not read" in finding.what or "was not understood" in finding.what
