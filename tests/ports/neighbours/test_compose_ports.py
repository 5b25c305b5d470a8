"""Ports that compose publishes on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics_commands.finding import Finding, Place, make_id
from metrics_commands.ports.neighbours.compose import read_compose
from metrics_commands.ports.neighbours.neighbour import HOST_NETWORK, Survey


def read_ports(folder: Path, *services: str, **environment: str) -> Survey:
    """Return what services say whose ``ports`` are given in YAML's one-line style."""
    lines = [f"  s{number}:\n    ports: {each}" for number, each in enumerate(services, 1)]
    path = folder / "compose.yaml"
    path.write_text("\n".join(["services:", *lines, ""]))
    return read_compose(path, environment)


def clashes(survey: Survey) -> list[Finding]:
    """Return the findings about ports that are wanted twice."""
    return [each for each in survey.findings if each.id == make_id(18)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ('"8000"', []),
        ("8000", []),
        ('"3000-3005"', []),
        ('"8001:80"', [("0.0.0.0", 8001)]),
        ("8001:80", [("0.0.0.0", 8001)]),
        ('"8001:80/tcp"', [("0.0.0.0", 8001)]),
        ('"8001:80/udp"', []),
        ('"127.0.0.1:8001:80"', [("127.0.0.1", 8001)]),
        ('"127.0.0.1::80"', []),
        ('"[::1]:8001:80"', [("::1", 8001)]),
        ('"::1:8001:80"', [("::1", 8001)]),
        ('"0:80"', []),
        ('"3000-3002:4000-4002"', [("0.0.0.0", 3000), ("0.0.0.0", 3001), ("0.0.0.0", 3002)]),
        ('"127.0.0.1:5000-5001:6000-6001/tcp"', [("127.0.0.1", 5000), ("127.0.0.1", 5001)]),
        ('"3000-3002:80"', []),
        ("{target: 80}", []),
        ("{target: 80, published: 8001}", [("0.0.0.0", 8001)]),
        ('{target: 80, published: "8001", protocol: tcp, mode: host}', [("0.0.0.0", 8001)]),
        ("{target: 80, published: 8001, protocol: udp}", []),
        ("{target: 80, published: 8001, host_ip: 127.0.0.1}", [("127.0.0.1", 8001)]),
        ('{target: 80, published: "8001-8009"}', []),
        ('"${PORT:-8001}:80"', [("0.0.0.0", 8001)]),
        ('"$GIVEN:80"', [("0.0.0.0", 9000)]),
        ('"${HOST-127.0.0.1}:$GIVEN:80"', [("127.0.0.1", 9000)]),
    ],
)
def test_every_form_of_a_port_is_understood(
    tmp_path: Path, entry: str, expected: list[tuple[str, int]]
) -> None:
    """A port that compose would take on the host is known, in whatever form it is written."""
    survey = read_ports(tmp_path, f"[ {entry} ]", GIVEN="9000")
    assert [(each.host, port) for each in survey.neighbours for port in each.ports] == expected
    assert survey.findings == []
    for each in survey.neighbours:
        assert (each.what, each.network) == ("published port of 's1'", HOST_NETWORK)
        assert each.place == Place("compose.yaml", 3)
        assert each.text.startswith("ports: [ ")
        written = each.text[slice(*each.span)] if each.span else ""
        assert written.partition("-")[0] == ("" if "$GIVEN" in entry else str(each.port))


@pytest.mark.parametrize(
    "entry",
    [
        "http", '"8000:http"', '"70000:80"', '"2-1:2-1"', '"1-3:1-2"', '"nohost:1:2"',

        '"::8000:80"', '"80:80/tcp/udp"', "{target: a, published: 1}", "{published: 8000}",
        '"${:80"', '"-1:80"',
    ],
)  # fmt: skip
def test_a_port_that_compose_refuses_is_said(tmp_path: Path, entry: str) -> None:
    """An entry that compose cannot understand is named with its line, and the rest is read."""
    survey = read_ports(tmp_path, f"[ {entry}, '8001:80' ]")
    assert [each.port for each in survey.neighbours] == [8001]
    (finding,) = survey.findings
    assert (finding.id, finding.severity) == (make_id(19), "warning")
    assert finding.what.startswith("compose.yaml:3: ")


def test_a_port_pair_that_yaml_takes_for_a_number_is_said(tmp_path: Path) -> None:
    """An unquoted 22:22 is read as two ports, and the quotes it needs are shown."""
    survey = read_ports(tmp_path, "[ 22:22, 8000:80, '23:23' ]")
    assert [each.port for each in survey.neighbours] == [22, 8000, 23]
    (finding,) = survey.findings
    assert "1342" in finding.what
    assert [each.write for each in finding.changes] == ["ports: [ \"22:22\", …, '…' ]"]


@pytest.mark.parametrize(
    ("first", "second", "port"),
    [
        ("8000:80", "8000:81", 8000),
        ("8000:80", "127.0.0.1:8000:80", 8000),
        ("8000:80", "[::1]:8000:80", 8000),
        ("0.0.0.0:8000:80", "127.0.0.1:8000:80", 8000),
        ("[::]:8000:80", "[::1]:8000:80", 8000),
        ("127.0.0.1:8000:80", "127.0.0.1:8000:81", 8000),
        ("8000-8005:8000-8005", "8004:80", 8004),
        ("8000:80/tcp", "${PORT:-8000}:80", 8000),
    ],
)
def test_a_port_that_two_services_publish_is_an_error(
    tmp_path: Path, first: str, second: str, port: int
) -> None:
    """Of two services that publish one port both places are named, whatever the addresses."""
    survey = read_ports(tmp_path, f"['{first}']", f"['{second}']")
    (finding,) = clashes(survey)
    assert finding.severity == "error"
    assert f"Port {port} of the host" in finding.what
    assert "compose.yaml:3" in finding.what
    assert "compose.yaml:5" in finding.what


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("8000:80", "8001:80"),
        ("8000:80", "8000:80/udp"),
        ("127.0.0.1:8000:80", "127.0.0.2:8000:80"),
        ("0.0.0.0:8000:80", "[::]:8000:80"),
        ("127.0.0.1:8000:80", "[::1]:8000:80"),
        ("8000", "8000"),
        ("8000-8003:80", "8000:80"),
    ],
)
def test_ports_that_go_together_are_no_error(tmp_path: Path, first: str, second: str) -> None:
    """Equal ports in two containers, of two addresses or of UDP are fine."""
    assert clashes(read_ports(tmp_path, f"['{first}']", f"['{second}']")) == []


@pytest.mark.parametrize(
    ("second", "write"),
    [
        ("- 8000:8000", "- 8002:8000"),
        ('- "8000:8000"  # the web\'s', '- "8002:8000"  …\'…'),
        ("- '127.0.0.1:8000:8000'", "- '127.0.0.1:8002:8000'"),
        ('- "[::8000]:8000:8000"', '- "[::8000]:8002:8000"'),
        ('- "${PORT:-8000}:80"', '- "${PORT:-8002}:80"'),
        ('- "$GIVEN:80"', '- "8002:80"'),
        ('- "7999-8000:1-2"', '- "8002-8003:1-2"'),
        ("- target: 80\n        published: 8000", "published: 8002"),
        ("- &p '8000:80'", "- &… '8002:80'"),
    ],
)
def test_the_line_to_write_has_a_free_port(tmp_path: Path, second: str, write: str) -> None:
    """The line that is offered for a clash is the old one with the next port that nobody wants."""
    path = tmp_path / "compose.yaml"
    path.write_text(
        "services:\n  a:\n    ports:\n      - '8000:80'\n      - '8001:81'\n"
        f"  b:\n    ports:\n      {second}\n"
    )
    (finding,) = clashes(read_compose(path, {"GIVEN": "8000"}))
    old, new = finding.changes
    assert (old.place, old.write) == (Place("compose.yaml", 4), "- '8000:80'")
    assert new.write == write
    assert (
        path.read_text().splitlines()[new.place.line - 1].strip()
        == second.rpartition("\n")[2].strip()
    )


def test_the_offered_lines_end_all_clashes(tmp_path: Path) -> None:
    """Whoever writes all lines that are offered has no clash left."""
    path = tmp_path / "compose.yaml"
    services = "".join(f"  s{number}:\n    ports:\n      - 80:80\n" for number in range(5))
    path.write_text(f"services:\n{services}")
    lines = path.read_text().splitlines()
    for finding in clashes(read_compose(path, {})):
        change = finding.changes[-1]
        lines[change.place.line - 1] = f"      {change.write}"
    path.write_text("\n".join(lines))
    survey = read_compose(path, {})
    assert clashes(survey) == []
    assert len({each.port for each in survey.neighbours}) == 5


@pytest.mark.parametrize("how", ["scale: 3", "deploy: {replicas: 3}", "deploy: {replicas: $N}"])
def test_replicas_cannot_share_a_port(tmp_path: Path, how: str) -> None:
    """A service that runs several times needs a range, which is offered."""
    path = tmp_path / "compose.yaml"
    path.write_text(f"services:\n  web:\n    {how}\n    ports:\n      - '8000:80'\n")
    (finding,) = clashes(read_compose(path, {"N": "3"}))
    assert [each.write for each in finding.changes] == ["- '8000-8002:80'"]
    path.write_text(path.read_text().replace("8000:80", "8000-8002:80"))
    assert clashes(read_compose(path, {"N": "3"})) == []
