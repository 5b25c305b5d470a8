"""Which folders and files are read, and what in them is said not to be understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics_commands.ports.neighbours.survey import survey

WEB = "services: {{web: {{command: gunicorn -b :{}}}}}\n"


def list_places(folder: Path, environment: dict[str, str] | None = None) -> list[tuple[str, int]]:
    """Return the file and the port of each neighbour."""
    found = survey(folder, environment or {})
    assert found.findings == []
    return [(each.place.file, each.port) for each in found.neighbours]


@pytest.mark.parametrize("source", ["environment", ".env"])
def test_compose_file_names_what_is_read(tmp_path: Path, source: str) -> None:
    """COMPOSE_FILE counts as for compose itself; other files of that kind are left alone."""
    for name, port in {"compose.yaml": 1, "local.yml": 2, "docker-compose.local.yml": 3}.items():
        (tmp_path / name).write_text(WEB.format(port))
    assert list_places(tmp_path) == [("compose.yaml", 1)]
    value = "local.yml:docker-compose.local.yml"
    if source == ".env":
        (tmp_path / ".env").write_text(f"COMPOSE_FILE={value}\n")
    environment = {"COMPOSE_FILE": value} if source == "environment" else {}
    assert list_places(tmp_path, environment) == [("docker-compose.local.yml", 3)]


@pytest.mark.parametrize(
    ("git", "depth", "read"),
    [(0, 1, True), (0, 3, True), (0, 4, False), (1, 2, False), (None, 1, False)],
)
def test_files_above_count_up_to_the_root(
    tmp_path: Path, git: int | None, depth: int, read: bool
) -> None:
    """A Procfile at the repository's root is read for a manage.py below, and none beyond it."""
    folders = [tmp_path]
    for number in range(depth):
        folders.append(folders[-1] / f"f{number}")
    folders[-1].mkdir(parents=True)
    if git is not None:
        (folders[git] / ".git").mkdir()
    (tmp_path / "Procfile").write_text("web: gunicorn -b :1 x\n")
    (tmp_path / "compose.yaml").write_text(WEB.format(2))
    up = "../" * depth
    expected = [(f"{up}Procfile", 1), (f"{up}compose.yaml", 2)] if read else []
    assert list_places(folders[-1]) == expected


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        ("manage.py runmetrics --port $METRICS_PORT", False),
        ("gunicorn -b :$UNSET x", False),
        ("uvicorn --port $UNSET", False),
        ("/start", False),
        ("./start.sh --now", False),
        ("gunicorn -b unix:/run/web.sock x", True),
        ("uvicorn --port 0 x", True),
        ("celery -A shop worker", True),
        ("./serve $PORT", True),
        ("pip install gunicorn", True),
    ],
)
def test_what_is_not_understood_is_said(tmp_path: Path, line: str, understood: bool) -> None:
    """A port that a variable or a script hides is not passed over in silence."""
    (tmp_path / "Procfile").write_text(f"web: {line}\n")
    found = survey(tmp_path, {}).findings
    assert [(each.id[-4:], each.severity) for each in found] == [("W019", "info")] * (
        not understood
    )
    assert all(each.what.startswith("Procfile:1: ") for each in found)


@pytest.mark.parametrize(
    "line", ["wait-for-it db:5432 -- {}", "watch -n 1 {}", "./run {}", "python go.py -- {}"]
)
def test_a_server_is_found_behind_an_unknown_program(tmp_path: Path, line: str) -> None:
    """Whatever starts a known server, its port is known."""
    (tmp_path / "Procfile").write_text(f"web: {line.format('gunicorn -b :7001 x')}\n")
    assert list_places(tmp_path) == [("Procfile", 7001)]


def test_one_reason_is_given_once(tmp_path: Path) -> None:
    """Two lines that read one broken file are one finding."""
    (tmp_path / "gunicorn.conf.py").write_text("bind =")
    (tmp_path / "Procfile").write_text("a: gunicorn x\nb: gunicorn y\n")
    (found,) = survey(tmp_path, {}).findings
    assert "gunicorn.conf.py was not read" in found.what


@pytest.mark.parametrize("how", ["scale: 0", "deploy: {replicas: 0}"])
def test_a_service_that_is_off_wants_nothing(tmp_path: Path, how: str) -> None:
    """A service without containers has no port, and clashes with nobody."""
    off = f"{{{how}, ports: ['8000:80'], command: gunicorn x}}"
    on = "{image: x, ports: ['8000:80']}"
    (tmp_path / "compose.yaml").write_text(f"services:\n  off: {off}\n  on: {on}\n")
    assert list_places(tmp_path) == [("compose.yaml", 8000)]


@pytest.mark.parametrize(
    ("one", "two", "clashes"),
    [("[]", "[]", 1), ("[a]", "[]", 1), ("[a]", "[b]", 0), ("[a]", "[b, a]", 1)],
)
def test_only_services_that_run_together_clash(
    tmp_path: Path, one: str, two: str, clashes: int
) -> None:
    """Development and production in one file, under two profiles, are no error."""
    (tmp_path / "compose.yaml").write_text(
        f"services:\n  s1: {{profiles: {one}, ports: ['8000:80']}}\n"
        f"  s2: {{profiles: {two}, ports: ['8000:80']}}\n"
    )
    assert len(survey(tmp_path, {}).findings) == clashes


def test_replicas_are_a_warning_that_names_the_ingress(tmp_path: Path) -> None:
    """Who deploys to a Swarm knows that its own routing is the exception."""
    (tmp_path / "compose.yaml").write_text("services: {w: {scale: 2, ports: ['8000:80']}}\n")
    (found,) = survey(tmp_path, {}).findings
    assert (found.id[-4:], found.severity) == ("W018", "warning")
    assert "ingress" in found.why


def test_a_range_is_one_neighbour(tmp_path: Path) -> None:
    """Thousands of published ports are one entry, and a clash of two of them is one finding."""
    (tmp_path / "compose.yaml").write_text(
        "services:\n" + "".join(f"  s{n}: {{ports: ['30000-32000:3-2003']}}\n" for n in (1, 2))
    )
    found = survey(tmp_path, {})
    assert [(each.ports[0], each.ports[-1]) for each in found.neighbours] == [(30000, 32000)] * 2
    assert len(found.findings) == 1
