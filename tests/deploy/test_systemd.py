"""The systemd units: what systemd says of them, and the shop under what they forbid."""

from __future__ import annotations

import ctypes.util
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import find_program
from tests.e2e.traffic import assert_exact, send_mix, wait_for_web
from tests.processes import BIN, Started, clean_environment, free_port, run, scrape, started

from .documents import DEPLOY, read_unit

INSTALLED = "/srv/shop/.venv/bin"
WEB, EXPORTER, SOCKET = "shop.service", "shop-exporter.service", "shop-exporter.socket"
# Of 100; systemd calls up to 20 "OK" and its own network services have 40 to 80.
MOST_EXPOSED = 20
# What makes one deployment of the two: the user, the directories, and what is forbidden.
APART = {
    "Description", "Requires", "After", "WatchdogSec", "ExecStart", "ExecReload", "KillMode",
    "TimeoutStopSec", "RestartPreventExitStatus",
}  # fmt: skip

needs_seccomp = pytest.mark.skipif(
    ctypes.util.find_library("seccomp") is None, reason="libseccomp is not installed"
)


@pytest.fixture
def analyze() -> str:
    """Return the program."""
    return find_program("systemd-analyze", "systemd")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Return the units as they would be installed with the programs of here."""
    written = []
    for path in sorted((DEPLOY / "systemd").iterdir()):
        text = path.read_text()
        assert INSTALLED in text or path.suffix == ".socket"
        (tmp_path / path.name).write_text(text.replace(INSTALLED, str(BIN)))
        written.append(tmp_path / path.name)
    return written


def test_systemd_understands_the_units(analyze: str, units: list[Path], tmp_path: Path) -> None:
    """No line is unknown, and no program is missing."""
    command: list[str | Path] = [analyze, "verify", "--man=no", *units]
    done = run(command, clean_environment(tmp_path))
    said = [each for each in (done.stdout + done.stderr).splitlines() if "shop" in each]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("name", [WEB, EXPORTER])
def test_systemd_calls_the_units_hardened(
    analyze: str, units: list[Path], tmp_path: Path, name: str
) -> None:
    """Nothing is allowed that the shop does not need."""
    path = tmp_path / name
    assert path in units
    command: list[str | Path] = [
        analyze,
        "security",
        "--offline=yes",
        f"--threshold={MOST_EXPOSED}",
        "--no-pager",
        path,
    ]
    done = run(command, clean_environment(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_services_have_one_user_and_one_directory() -> None:
    """They differ in what they start alone, and neither takes the directory from the other."""
    web, exporter = (
        [each for each in read_unit(name) if each[0] not in APART] for name in (WEB, EXPORTER)
    )
    extra = ("Environment", "XDG_RUNTIME_DIR=/run/shop")
    assert [each for each in web if each != extra] == exporter
    assert ("RuntimeDirectoryPreserve", "yes") in exporter
    assert "shop-exporter" not in str(read_unit(WEB))


@contextmanager
def unit(name: str, environment: dict[str, str], port: int) -> Iterator[Started]:
    """Start what a unit starts, confined as it says, on another port."""
    settings = dict(read_unit(name))
    command = settings["ExecStart"].replace(INSTALLED, str(BIN)).replace("8000", str(port))
    confined = [str(BIN / "python"), "-m", "tests.deploy.confinement", name, *shlex.split(command)]
    if os.geteuid() == 0:
        confined = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *confined]
    if name == EXPORTER:
        address = dict(read_unit(SOCKET))["ListenStream"].replace("8001", str(port))
        variables = [f"--setenv={each}" for each in environment]
        confined = ["systemd-socket-activate", *variables, f"--listen={address}", *confined]
    with started(confined, environment) as process:
        yield process


@needs_seccomp
def test_the_shop_runs_as_confined_as_the_units_say(
    environment: dict[str, str], analyze: str
) -> None:
    """With the socket of systemd, no capability, and few system calls, counts are exact."""
    web_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with unit(WEB, environment, web_port) as web, unit(EXPORTER, environment, port) as exporter:
        exporter.wait_for("Listening on")
        sent = wait_for_web(web_port) + send_mix(web_port, 1)
        assert_exact(scrape(url), sent)
        exporter.wait_for("Serving ")
        assert "not permitted" not in exporter.output + web.output
        assert exporter.stop() == 0
        assert web.stop() == 0
