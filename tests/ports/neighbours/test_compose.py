"""What whole compose files say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from metrics_commands.finding import Finding, Place, make_id
from metrics_commands.ports.neighbours.compose import read_compose
from metrics_commands.ports.neighbours.neighbour import HOST_NETWORK, Survey

SHOP = """
    x-app: &app
      build: .
      restart: unless-stopped
      environment: &environment
        DJANGO_SETTINGS_MODULE: shop.settings
        PROMETHEUS_MULTIPROC_DIR: /run/metrics
      volumes: &volumes
        - numbers:/run/metrics

    services:
      db:
        image: postgres:17
        expose: ["5432"]
        ports: ["127.0.0.1:5432:5432"]

      web:
        <<: *app
        command: gunicorn shop.wsgi --bind 0.0.0.0:8000 --workers 4
        ports:
          - "80:8000"
        depends_on: [db]

      metrics:
        <<: [*app, {profiles: [monitoring]}]
        environment:
          <<: *environment
          LOG_LEVEL: info
        command:
          - python
          - manage.py
          - runmetrics
          - --port=9100

    volumes:
      numbers: {}
"""


def survey(folder: Path, text: str, environment: dict[str, str] | None = None) -> Survey:
    """Return what a compose file says."""
    path = folder / "compose.yaml"
    path.write_text(dedent(text))
    return read_compose(path, environment or {})


def wanted(found: Survey) -> list[tuple[str, str, int, str]]:
    """Return who wants which port of which network."""
    return [(each.what, each.host, each.port, each.network) for each in found.neighbours]


def test_a_whole_deployment_is_understood(tmp_path: Path) -> None:
    """Of a usual deployment all ports and the exporter are known, and nothing is at fault."""
    found = survey(tmp_path, SHOP)
    assert wanted(found) == [
        ("published port of 'db'", "127.0.0.1", 5432, HOST_NETWORK),
        ("published port of 'web'", "0.0.0.0", 80, HOST_NETWORK),
        ("gunicorn of 'web'", "0.0.0.0", 8000, "web"),
    ]
    assert found.findings == []
    (exporter,) = found.exporters
    assert exporter.options == {"port": "9100"}
    assert exporter.network == "metrics"
    assert exporter.reached_from_outside
    assert exporter.volumes == {"/run/metrics": "numbers"}
    assert exporter.environment == {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PROMETHEUS_MULTIPROC_DIR": "/run/metrics",
        "LOG_LEVEL": "info",
    }
    assert (exporter.place, exporter.text) == (Place("compose.yaml", 33), "- --port=9100")


@pytest.mark.parametrize(
    ("lines", "place", "port"),
    [
        ("command: gunicorn w -b :8001", 4, 8001),
        ('command: ["gunicorn", "w", "-b", ":8001"]', 4, 8001),
        ("command:\n      - gunicorn\n      - w\n      - -b\n      - :8001", 8, 8001),
        ("command: >\n      gunicorn w\n      -b :8001", 6, 8001),
        ("entrypoint: [gunicorn, w]\n    command: -b :8001", 5, 8001),
        ("entrypoint: gunicorn w -b :8001", 4, 8001),
        ("entrypoint: [sh, -c]\n    command: [exec gunicorn w -b ':8001']", 5, 8001),
        ("command: sh -c 'gunicorn w -b :$$P'\n    environment: {P: 8001}", 4, 8001),
        ("command: sh -c 'gunicorn w -b :$$P'\n    environment: [P=8001]", 4, 8001),
        ("command: gunicorn w -b :${P:-8001}", 4, 8001),
        ("command: gunicorn w\n    environment:\n      GUNICORN_CMD_ARGS: -b :8001", 4, 8001),
        ("command: gunicorn w\n    environment: [PORT]", 4, 9000),
        ("command: gunicorn w\n    environment: {PORT: }", 4, 9000),
        ("command: gunicorn w", 4, 8000),
    ],
)
def test_a_command_is_understood(tmp_path: Path, lines: str, place: int, port: int) -> None:
    """A server's port is known from a command in any form, with the line where it stands.

    A variable of the caller's counts only where the service asks for it.
    """
    path = tmp_path / "compose.yaml"
    path.write_text(f"services:\n  web:\n    image: shop\n    {lines}\n    tty: true # 8001\n")
    found = read_compose(path, {"PORT": "9000"})
    ((what, _, number, network),) = wanted(found)
    assert (what, number, network) == ("gunicorn of 'web'", port, "web")
    assert found.neighbours[0].place == Place("compose.yaml", place)
    written = path.read_text().splitlines()[place - 1].strip()
    assert found.neighbours[0].text == re.sub(r"\bw\b|:\$\$P", "…", written)


@pytest.mark.parametrize(
    "lines",
    [
        "image: nginx",
        "expose: ['8000']",
        "command: postgres -p 5432",
        "entrypoint: []\n    command: null",
        "command: gunicorn 'unclosed",
        "command: {gunicorn: 8000}",
        "ports:",
        "ports: {8000: 80}",
    ],
)
def test_what_listens_nowhere_is_no_neighbour(tmp_path: Path, lines: str) -> None:
    """An image, an exposed port or an unknown program claims nothing."""
    path = tmp_path / "compose.yaml"
    path.write_text(f"services:\n  web:\n    {lines}\n  empty:\n")
    assert read_compose(path, {}) == Survey()


@pytest.mark.parametrize(
    ("mode", "network", "reached", "publishes"),
    [
        ("host", HOST_NETWORK, False, False),
        ("service:other", "other", True, False),
        ("service:web", "web", True, False),
        ("none", "web", False, False),
        ("bridge", "web", True, True),
    ],
)
def test_a_network_mode_decides_where_ports_are(
    tmp_path: Path, mode: str, network: str, reached: bool, publishes: bool
) -> None:
    """A port is wanted on the network where the container really is."""
    found = survey(
        tmp_path,
        f"""
        services:
          web:
            network_mode: {mode}
            command: sh -c "gunicorn w -b :8000 & python manage.py runmetrics"
            ports: ["8000:8000"]
          other: {{image: redis}}
        """,
    )
    server = ("gunicorn of 'web'", "0.0.0.0", 8000, network)
    published = ("published port of 'web'", "0.0.0.0", 8000, HOST_NETWORK)
    assert wanted(found) == [*[published] * publishes, server]
    assert [(each.network, each.reached_from_outside) for each in found.exporters] == [
        (network, reached)
    ]


def test_an_override_has_the_last_word(tmp_path: Path) -> None:
    """What an override file says replaces commands, adds ports, and is named as the place."""
    (tmp_path / "compose.override.yml").write_text(
        dedent("""
        services:
          web:
            command: python manage.py runserver 0.0.0.0:8001
            ports: ["80:8000", "8001:8001"]
          db:
            ports: !reset []
          metrics:
            ports: !override ["9100:9100"]
            environment: [LOG_LEVEL=debug]
        """)
    )
    found = survey(tmp_path, SHOP)
    assert [each[:3] for each in wanted(found)] == [
        ("published port of 'web'", "0.0.0.0", 80),
        ("published port of 'web'", "0.0.0.0", 8001),
        ("runserver of 'web'", "0.0.0.0", 8001),
        ("published port of 'metrics'", "0.0.0.0", 9100),
    ]
    assert found.findings == []
    assert found.neighbours[1].place == Place("compose.override.yml", 5)
    assert found.exporters[0].environment["LOG_LEVEL"] == "debug"
    assert found.exporters[0].environment["PROMETHEUS_MULTIPROC_DIR"] == "/run/metrics"


def test_variables_come_from_the_caller_then_from_dotenv(tmp_path: Path) -> None:
    """A port in .env counts, and the caller's own variable before it."""
    (tmp_path / ".env").write_text("WEB=8001\nADMIN=8002\n")
    text = "services: {web: {ports: ['$WEB:80', '$ADMIN:80']}}\n"
    found = survey(tmp_path, text, {"ADMIN": "9000"})
    assert [each.port for each in found.neighbours] == [8001, 9000]


def test_env_files_give_a_service_its_variables(tmp_path: Path) -> None:
    """A port in an env_file is known, after a service's own; a missing file is said."""
    (tmp_path / "a.env").write_text("PORT=8001\nA=1")
    (tmp_path / "b.env").write_text("PORT='8002'")
    text = """
        services:
          a: {{command: gunicorn w, env_file: {}}}
    """
    for written, port, findings in (
        ("a.env", 8001, 0),
        ("[a.env, {path: b.env}]", 8002, 0),
        ("[b.env, {path: no.env, required: false}]", 8002, 0),
        ("[b.env, no.env]", 8002, 1),
        ("a.env, environment: {PORT: 8003}", 8003, 0),
    ):
        found = survey(tmp_path, text.format(written))
        assert [each.port for each in found.neighbours] == [port], written
        assert len(found.findings) == findings, written


def test_volumes_are_known_by_their_target(tmp_path: Path) -> None:
    """An exporter's mounts are known in every form, and what nobody else can have is left out."""
    found = survey(
        tmp_path,
        """
        services:
          metrics:
            command: manage.py runmetrics
            volumes_from: ["base:ro"]
            volumes:
              - ./data:/data:ro
              - named:/named/
              - /anonymous
              - {type: bind, source: ../up, target: /up}
              - {type: volume, source: other, target: /long}
              - {type: tmpfs, target: /fast}
          base: {image: x, volumes: ["/host:/base", "hidden:/data"], volumes_from: [metrics]}
        """,
    )
    assert found.exporters[0].volumes == {
        "/data": str(tmp_path / "data"),
        "/named": "named",
        "/up": str(tmp_path.parent / "up"),
        "/long": "other",
        "/base": "/host",
    }


def test_a_service_has_what_it_extends(tmp_path: Path) -> None:
    """Ports and commands come from an extended service; one of another file is said."""
    found = survey(
        tmp_path,
        """
        services:
          base: {command: gunicorn w, environment: {PORT: 8001, A: 1}}
          web: {extends: base, environment: [A=2]}
          admin: {extends: {service: web}, command: uvicorn w --port 8002}
          far: {extends: {file: other.yml, service: x}}
          round: {extends: {file: compose.yaml, service: trip}}
          trip: {extends: round, command: gunicorn w}
        """,
    )
    assert [(each.what, each.port) for each in found.neighbours] == [
        ("gunicorn of 'base'", 8001),
        ("gunicorn of 'web'", 8001),
        ("uvicorn of 'admin'", 8002),
        ("gunicorn of 'round'", 8000),
        ("gunicorn of 'trip'", 8000),
    ]
    (finding,) = found.findings
    assert (finding.id, finding.severity) == (make_id(19), "info")
    assert "other.yml" in finding.what


def test_what_is_not_followed_is_said(tmp_path: Path) -> None:
    """Whoever includes other files learns that they were not looked at."""
    found = survey(tmp_path, "include: [other.yaml]\nservices: {}\n")
    assert found.findings == [
        Finding(make_id(19), "info", "compose.yaml:1: what compose includes there is not followed.")
    ]


def test_without_pyyaml_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML is missing, what to install is said, and nothing else is lost."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    (finding,) = survey(tmp_path, SHOP).findings
    assert (finding.id, finding.severity) == (make_id(19), "info")
    assert finding.what == "compose.yaml was not read: PyYAML is not installed."
    assert [each.write for each in finding.changes] == ['pip install "django-runmetrics[secure]"']
