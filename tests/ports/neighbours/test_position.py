"""Where a port stands in a line: the one number that moves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics_commands.ports.neighbours.compose import read_compose
from metrics_commands.ports.neighbours.line import write
from metrics_commands.ports.neighbours.procfile import read_procfile


@pytest.mark.parametrize(
    ("line", "server", "exporter"),
    [
        ("gunicorn -b :8000 --max-requests 8000", "gunicorn -b :9 …", None),
        ("gunicorn --max-requests 8000 -b :8000", "gunicorn … -b :9", None),
        ("gunicorn -b :$PORT --max-requests 5000", None, None),
        ("manage.py runmetrics --port-wait 8000 --port 8000", None,
         "manage.py runmetrics … --port 9"),
        ("manage.py runmetrics --port-range 8000-8001 --port-wait 8000", None,
         "manage.py runmetrics --port-range 9 …"),
        ("manage.py runmetrics --port 8000 & gunicorn -b 0.0.0.0:${PORT:-8000}",
         "manage.py runmetrics --port 8000 & gunicorn -b 0.0.0.0:${PORT:-9}",
         "manage.py runmetrics --port 9 & gunicorn -b …{…}"),
        ("X=8000; manage.py runmetrics --port $X", None, "…9; manage.py runmetrics --port …"),
        ("sh -c 'exec gunicorn -b :8000'", "sh -c 'exec gunicorn -b :9'", None),
    ],
)  # fmt: skip
def test_only_the_number_that_counts_is_another(
    tmp_path: Path, line: str, server: str | None, exporter: str | None
) -> None:
    """An equal number in another option, or of another program in that line, stays."""
    (tmp_path / "Procfile").write_text(f"web: {line}\n")
    found = read_procfile(tmp_path / "Procfile", {})
    moved = [write(each.text, each.span, "9") for each in found.neighbours if each.span]
    assert moved == ([f"web: {server}"] if server else [])
    moved = [write(each.text, each.span, "9") for each in found.exporters if each.span]
    assert moved == ([f"web: {exporter}"] if exporter else [])


@pytest.mark.parametrize(
    ("command", "place", "written"),
    [
        (">\n      gunicorn w\n      --max-requests 8000\n      -b :8000", 6, "-b :9"),
        ("|\n      gunicorn w\n      --max-requests 8000\n      -b :8000", 6, "-b :9"),
        ("\n      - gunicorn\n      - --max-requests=8000\n      - -b\n      - :8000", 7, "- :9"),
        ('"gunicorn --max-requests 8000 -b :8000"', 3, 'command: "gunicorn … -b :9"'),
        ('["gunicorn", "-b", ":8000", "--max-requests=8000"]', 3,
         'command: ["gunicorn", "-b", ":9", "…"]'),
        ("gunicorn --max-requests ${N:-8000} -b :${P:-8000}", 3,
         "command: gunicorn …{…} -b :${P:-9}"),
    ],
)  # fmt: skip
def test_a_compose_command_of_several_lines_has_its_place(
    tmp_path: Path, command: str, place: int, written: str
) -> None:
    """The place is the line with the server's own port, not the first equal number."""
    path = tmp_path / "compose.yaml"
    path.write_text(f"services:\n  web:\n    command: {command}\n")
    (found,) = read_compose(path, {}).neighbours
    assert (found.place.line, write(found.text, found.span, "9")) == (place, written)


def test_the_line_of_a_configuration_file_has_its_place(tmp_path: Path) -> None:
    """Of a gunicorn.conf.py the number of the bind is another, not that beside it."""
    (tmp_path / "gunicorn.conf.py").write_text("if x:\n    backlog = 8000; bind = ':8000'\n")
    (tmp_path / "Procfile").write_text("web: gunicorn x\n")
    (found,) = read_procfile(tmp_path / "Procfile", {}).neighbours
    assert found.place.line == 2
    assert write(found.text, found.span, "9") == "… = …; bind = ':9'"
