"""What checkports says of a web configuration file and its certificate, without serving."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from metrics_commands.errors import ExporterError
from metrics_commands.finding import Finding
from metrics_commands.management.web_findings import examine_web_configuration
from metrics_commands.server.door import Door
from tests.server.certificates import (
    AUTHORITY,
    OTHER,
    SERVER,
    write_certificate,
    write_configuration,
)
from tests.server.test_web_configuration import WRONG

HASH = "$2b$04$cVNisS7npjPPAvHiGPiA2eWOwfIQOonoRGqvrvQyB6p/dTdBJ.OTO"
CLIENTS = "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


def examine(path: Path | None) -> list[tuple[str, str]]:
    """Return the numbers and severities of what is found."""
    return [(each.id[-4:], each.severity) for each in examine_web_configuration(path)]


def examine_one(path: Path) -> Finding:
    """Return the only finding."""
    (found,) = examine_web_configuration(path)
    return found


def issue(folder: Path, begin: float, end: float) -> Path:
    """Write a configuration whose certificate holds between two days from now."""
    now = datetime.now(timezone.utc)
    path = write_configuration(folder, SERVER + CLIENTS)
    first, last = now + timedelta(begin), now + timedelta(end)
    issued = AUTHORITY.issue_cert("localhost", not_before=first, not_after=last)
    write_certificate(folder, "server", issued)
    return path


def test_a_file_that_is_right_is_not_mentioned(tmp_path: Path) -> None:
    """No file, an empty one, and one with all in order give nothing to correct."""
    assert examine(None) == []
    assert examine(write_configuration(tmp_path, "")) == []
    assert examine(issue(tmp_path, -1, 31)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read: No such file"),
        ("tls_server_config: {cert_filse: a}", ":1: tls_server_config.cert_filse is not known"),
        ("basic_auth_users: {a: b}", "must be a bcrypt hash"),
        ("tls_server_config: {cert_file: no, key_file: server.key}", "cert_file cannot be read"),
        ("tls_server_config: {cert_file: server.pem, key_file: no}", "key_file cannot be read"),
        ("tls_server_config: {cert_file: server.pem, key_file: other.key}", "does not belong to"),
        (SERVER + CLIENTS.replace("ca.pem", "server.key"), "client_ca_file holds no usable"),
    ],
)
def test_what_would_stop_the_exporter_is_an_error(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    """Each reason for which runmetrics would not start is known before it is started."""
    path = write_configuration(tmp_path, text or "")
    write_certificate(tmp_path, "other", OTHER)
    if text is None:
        path.unlink()
    found = examine_one(path)
    assert (found.id[-4:], found.severity) == ("W039", "error")
    assert expected in found.what


@pytest.mark.parametrize("text", [each for each, *_ in WRONG.values()], ids=WRONG)
def test_no_mistake_gets_past_the_start_or_the_examination(tmp_path: Path, text: str) -> None:
    """Each is refused by both, with the same words."""
    path = write_configuration(tmp_path, text)
    with pytest.raises(ExporterError) as caught:
        Door(path)
    found = examine_one(path)
    assert (found.id[-4:], found.severity) == ("W039", "error")
    assert (found.what, found.why) == (caught.value.message, caught.value.hint)


def test_a_private_key_is_no_certificate(tmp_path: Path) -> None:
    """The two files exchanged for each other are told, and nothing of the key is shown."""
    path = write_configuration(
        tmp_path, "tls_server_config: {cert_file: server.key, key_file: server.pem}"
    )
    found = examine_one(path)
    assert "cert_file holds no usable certificate" in found.what
    assert "PRIVATE KEY" not in repr(found)


@pytest.mark.parametrize(
    ("days", "expected", "text"),
    [
        ((-9, -1), ("W039", "error"), "ended on {end}."),
        ((1, 9), ("W039", "error"), "begins to hold on {begin}."),
        ((-9, 29), ("W041", "warning"), "ends on {end}."),
        ((-9, 0.01), ("W041", "warning"), "ends on {end}."),
    ],
)
def test_the_days_of_the_certificate_are_told(
    tmp_path: Path, days: tuple[float, float], expected: tuple[str, str], text: str
) -> None:
    """Nobody is surprised by a certificate that ends, or that does not hold yet."""
    path = issue(tmp_path, *days)
    found = examine_one(path)
    assert (found.id[-4:], found.severity) == expected
    begin, end = (datetime.now(timezone.utc) + timedelta(each) for each in days)
    assert found.what.endswith(text.format(begin=f"{begin:%Y-%m-%d}", end=f"{end:%Y-%m-%d}"))
    assert found.what.startswith(f"{path}:2: the certificate of tls_server_config.cert_file ")


@pytest.mark.parametrize("name", ["server.key", "web.yml"])
def test_the_command_that_hides_a_secret_is_told_and_does(tmp_path: Path, name: str) -> None:
    """Whoever left a key or hashes to everybody is given the line to run."""
    path = write_configuration(tmp_path, f"{SERVER}basic_auth_users: {{a: {HASH}}}")
    (tmp_path / name).chmod(0o644)
    found = next(each for each in examine_web_configuration(path) if each.id.endswith("W040"))
    assert (found.severity, str(tmp_path / name) in found.what) == ("warning", True)
    subprocess.run(["/bin/sh", "-c", found.changes[0].write], check=True)
    assert "W040" not in dict(examine(path))


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """The files are as they were, and no new one is there."""
    path = write_configuration(tmp_path, SERVER + CLIENTS)
    before = {each: (each.stat().st_mtime_ns, each.read_bytes()) for each in tmp_path.iterdir()}
    assert examine(path) == []
    after = {each: (each.stat().st_mtime_ns, each.read_bytes()) for each in tmp_path.iterdir()}
    assert after == before
