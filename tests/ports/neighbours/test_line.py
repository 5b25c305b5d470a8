"""What is shown of a line that may hold a password."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics_commands.ports.neighbours.line import LONGEST_SHOWN, show, write
from metrics_commands.ports.neighbours.neighbour import Survey
from metrics_commands.ports.neighbours.survey import survey

WORDS = st.text(string.ascii_letters + string.digits, min_size=6, max_size=12).map("Zq".__add__)
AROUND = st.sampled_from(
    ["{}", "SECRET={}", "--env {}", "--env KEY={}", "'{}'", "postgres://u:{}@h/d", "-e {}", "# {}",
     "--bind-key={}", "/opt/{}/gunicorn", "{}:", "-p {}", "x={}:9", "({})"]
)  # fmt: skip
PLACES = {
    "Procfile": "web: {0} gunicorn -b :8001 {1}\n",
    "compose.yaml": 'services: {{web: {{x: "{0}", ports: ["8001:1"],'
    ' command: "gunicorn {1} -b :8001"}}}}\n',
    "gunicorn.conf.py": 'bind = "0.0.0.0:8001"; raw_env = ["""{0}""", """{1}"""]\n',
}


@pytest.mark.parametrize(
    ("line", "port", "shown"),
    [
        ("web: SECRET=hunter2 gunicorn -b :8001", "8001", "web: … gunicorn -b :8001"),
        ("web: gunicorn a.wsgi -k x --bind=0.0.0.0:8001 -w 4", "8001",
         "web: gunicorn … --bind=0.0.0.0:8001 …"),
        ("web: python -m uvicorn a:b --port 8001 --host ::", "8001",
         "web: python -m uvicorn … --port 8001 --host ::"),
        ("web: /srv/x/bin/gunicorn -b [::]:8001", "8001", "web: …/gunicorn -b [::]:8001"),
        ("web: gunicorn -b :${PORT:-8001}", "8001", "web: gunicorn -b :${PORT:-8001}"),
        ("--bind 0.0.0.0:8001 --env D=postgres://u:pw@h", "8001", "--bind 0.0.0.0:8001 …"),
        ("web: {environment: {P: pw}, ports: ['8001:80']}", "8001",
         "web: {environment: {…}, ports: ['8001:80']}"),
        ('bind = "0.0.0.0:8001"; raw_env = ["K=pw"]', "8001", 'bind = "0.0.0.0:8001"; … = ["…"]'),
        ("PORT=hunter2 ./manage.py runserver 8001", "8001", "PORT=… ./manage.py runserver 8001"),
        ("web: hunter2", "", "web: …"),
    ],
)  # fmt: skip
def test_a_line_is_recognised_and_keeps_its_secrets(line: str, port: str, shown: str) -> None:
    """Programs, ports and the options that carry them are shown; every other word is not."""
    start = line.find(port) if port else -1
    found, span = show(line, (start, start + 4) if port else None, "web")
    assert found == shown
    if port:
        assert span
        assert found[slice(*span)] == port
        assert write(found, span, "9") == shown.replace(port, "9")


def test_a_long_line_is_cut_around_its_port() -> None:
    """A line of thousands of words does not hide what it is shown for."""
    line = "gunicorn --bind 1 " * 2_000 + "-b :8001" + " gunicorn --bind 1" * 2_000
    start = line.index("8001")
    found, span = show(line, (start, start + 4))
    assert len(found) <= LONGEST_SHOWN
    assert span
    assert found[slice(*span)] == "8001"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(PLACES)), st.tuples(WORDS, WORDS), st.tuples(AROUND, AROUND))
def test_no_unknown_word_is_ever_shown(
    tmp_path: Path, name: str, words: tuple[str, str], around: tuple[str, str]
) -> None:
    """Whatever stands in a line beside the port, none of it comes back."""
    for each in PLACES:
        (tmp_path / each).unlink(missing_ok=True)
    written = [each.format(word) for each, word in zip(around, words, strict=True)]
    (tmp_path / name).write_text(PLACES[name].format(*written))
    said = repr(list_texts(survey(tmp_path, {"GUNICORN_CMD_ARGS": f"--env {'='.join(words)}"})))
    assert not any(word in said for word in words)


def list_texts(found: Survey) -> list[object]:
    """Return all that is said of lines."""
    servers = [each.text for each in found.neighbours]
    exporters = [each.text for each in found.exporters]
    return [*servers, *exporters, *((each.what, each.why, each.changes) for each in found.findings)]


def test_the_variable_of_gunicorn_is_not_shown_whole(tmp_path: Path) -> None:
    """Of GUNICORN_CMD_ARGS the bind is enough to know what to change."""
    variable = "--max-requests 8001 --bind 0.0.0.0:8001 --env DATABASE_URL=postgres://u:pw@h"
    (found,) = survey(tmp_path, {"GUNICORN_CMD_ARGS": variable}).neighbours
    assert found.text == "… --bind 0.0.0.0:8001 …"
    assert write(found.text, found.span, "9") == "… --bind 0.0.0.0:9 …"
