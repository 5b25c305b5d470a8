"""Whether a compose file lets the exporter see the web server's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from metrics_commands.finding import Finding, make_id
from metrics_commands.ports.neighbours.compose import read_compose

NAME = "PROMETHEUS_MULTIPROC_DIR"
MOUNT = "volumes: ['m:/m']"


def look(
    folder: Path, web: str, metrics: str, *, option: str = "", image: str = "shop"
) -> list[Finding]:
    """Return what is found about two services with these lines."""
    path = folder / "compose.yaml"
    path.write_text(
        f"services:\n  web:\n    image: shop\n    command: gunicorn w\n{indent(web)}"
        f"  metrics:\n    image: {image}\n    command: manage.py runmetrics {option}\n"
        f"{indent(metrics)}"
    )
    return read_compose(path, {}).findings


def indent(lines: str) -> str:
    """Return lines as those of a service."""
    return "".join(f"    {line}\n" for line in lines.splitlines())


def directory(path: str) -> str:
    """Return the line that names the folder of the numbers."""
    return f"environment: {{{NAME}: {path}}}"


@pytest.mark.parametrize(
    ("web", "metrics"),
    [
        (MOUNT, MOUNT),
        (f"{MOUNT}\n{directory('/m')}", f"{MOUNT}\n{directory('/m')}"),
        (f"{MOUNT}\n{directory('/m/a/')}", f"{MOUNT}\n{directory('/m/a')}"),
        (f"{MOUNT}\n{directory('/m/a')}", f"volumes: ['m:/n']\n{directory('/n/a')}"),
        (
            f"volumes: ['./m:/m']\n{directory('/m')}",
            f"volumes: ['./x/../m/:/m']\n{directory('/m')}",
        ),
        (f"{MOUNT}\n{directory('/m')}", f"volumes_from: [web]\n{directory('/m')}"),
    ],
)
def test_a_shared_folder_is_fine(tmp_path: Path, web: str, metrics: str) -> None:
    """Two services that see the same folder of the same volume are left alone."""
    assert look(tmp_path, web, metrics) == []


def test_an_exporter_of_another_image_is_left_alone(tmp_path: Path) -> None:
    """An exporter of another project need not share anything."""
    assert look(tmp_path, "", "", image="other") == []


def test_an_option_names_the_folder_too(tmp_path: Path) -> None:
    """The folder of the command line counts before the variable's."""
    web, metrics = f"{MOUNT}\n{directory('/m')}", f"{MOUNT}\n{directory('/x')}"
    assert look(tmp_path, web, metrics, option="--metrics-dir /m") == []
    (finding,) = look(tmp_path, web, web, option="--metrics-dir /m/x")
    assert [each.write for each in finding.changes] == [f"{NAME}: /m/x"]


@pytest.mark.parametrize(
    ("web", "metrics", "what", "writes"),
    [
        (
            "",
            "",
            "share no volume",
            ['volumes: ["metrics:/run/metrics"]', f"environment: {{{NAME}: /run/metrics}}"] * 2
            + ["volumes: {metrics: {}}"],
        ),
        (
            f"{MOUNT}\n{directory('/m')}",
            f"volumes:\n  - other:/o\n{directory('/m')}",
            "share no volume",
            ["- m:/m"],
        ),
        (
            f"{MOUNT}\n{directory('/m')}",
            f"{MOUNT}\nenvironment: ['{NAME}=/x']",
            "different folders: /m and /x",
            [f"- {NAME}=/m"],
        ),
        (
            f"{MOUNT}\n{directory('/tmp')}",
            f"{MOUNT}\n{directory('/tmp')}",
            "share a volume, but not /tmp",
            ["- metrics:/tmp", "- metrics:/tmp", "volumes: {metrics: {}}"],
        ),
    ],
)
def test_a_folder_that_is_not_shared_is_said(
    tmp_path: Path, web: str, metrics: str, what: str, writes: list[str]
) -> None:
    """An exporter that cannot see the numbers is found before it shows an empty page."""
    (finding,) = look(tmp_path, web, metrics)
    assert (finding.id, finding.severity) == (make_id(20), "warning")
    assert "'web' and 'metrics'" in finding.what
    assert what in finding.what
    assert [each.write for each in finding.changes] == writes
    for change in finding.changes:
        assert isinstance(yaml.safe_load(change.write), dict | list)
