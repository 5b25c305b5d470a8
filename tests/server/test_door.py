"""The door follows its files while the server runs: rotation, mistakes, and their end."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import trustme

from metrics_commands.errors import ExporterError
from metrics_commands.server.door import Door
from metrics_commands.server.tls_configuration import TLS
from metrics_commands.server.web_configuration import WebConfiguration
from tests.processes import wait_until
from tests.server.certificates import (
    AUTHORITY,
    CERTIFICATE,
    OTHER,
    SERVER,
    make_client,
    shake_hands,
    write_certificate,
    write_configuration,
)

HASH = "$2b$04$cVNisS7npjPPAvHiGPiA2eWOwfIQOonoRGqvrvQyB6p/dTdBJ.OTO"
USERS = f"basic_auth_users: {{a: {HASH}}}\n"
CLIENTS = "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"


def list_messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what was logged at a level."""
    return [each.getMessage() for each in caplog.records if each.levelno == level]


def show_certificate(door: Door) -> bytes | None:
    """Return the certificate that a client is shown now."""
    assert door.context
    return shake_hands(door.context, make_client()).certificate


def read_der(certificate: trustme.LeafCert) -> bytes:
    """Return a certificate as a handshake carries it."""
    return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())


@pytest.fixture(autouse=True)
def _with_every_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "metrics_commands")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a door trust the times of files at once."""
    monkeypatch.setattr("metrics_commands.server.door.TICK_SECONDS", 0.0)


def test_without_a_file_the_door_is_open() -> None:
    """Who configures nothing serves plain HTTP to everybody."""
    door = Door(None)
    door.reload()
    assert (door.configuration, door.context, door.problem) == (WebConfiguration(), None, "")


@pytest.mark.parametrize(
    "text", ["junk", "tls_server_config: {cert_file: no.pem, key_file: no.key}"]
)
def test_a_wrong_file_does_not_start(tmp_path: Path, text: str) -> None:
    """At the start somebody is there to correct it."""
    with pytest.raises(ExporterError):
        Door(write_configuration(tmp_path, text))
    with pytest.raises(ExporterError):
        Door(tmp_path / "missing.yml")


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, settled: None) -> None:
    """A connection costs a look at the files, and no parsing."""
    door = Door(write_configuration(tmp_path, SERVER + USERS))
    first = door.configuration, door.context
    (tmp_path / "web.yml").touch()
    assert door.configuration is first[0]
    assert door.context is first[1]


def test_a_new_certificate_is_shown_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate that is renewed by another program is in use at the next connection."""
    door = Door(write_configuration(tmp_path, SERVER))
    assert show_certificate(door) == read_der(CERTIFICATE)
    write_certificate(tmp_path, "server", OTHER)
    wait_until(lambda: show_certificate(door) == read_der(OTHER))
    assert list_messages(caplog, logging.ERROR) == []


def test_every_rewrite_is_seen_however_soon_it_comes(tmp_path: Path) -> None:
    """Two changes within one tick of the clock, of equal length, end with the second."""
    path = write_configuration(tmp_path, "rate_limit: {burst: 1}")
    door = Door(path)
    for number in (2, 3, 4, 5):
        path.write_text(f"rate_limit: {{burst: {number}}}")
        assert door.configuration
    wait_until(lambda: door.configuration and door.configuration.rate.burst == 5)


def test_a_link_that_is_turned_is_a_change(tmp_path: Path) -> None:
    """Mounted secrets are exchanged by a link, all files at once."""
    for name, certificate in (("one", CERTIFICATE), ("two", OTHER)):
        (tmp_path / name).mkdir()
        write_certificate(tmp_path / name, "server", certificate)
    (tmp_path / "now").symlink_to("one")
    text = "tls_server_config: {cert_file: now/server.pem, key_file: now/server.key}"
    door = Door(write_configuration(tmp_path, text))
    assert show_certificate(door) == read_der(CERTIFICATE)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "now")
    assert show_certificate(door) == read_der(OTHER)


def test_clients_that_were_refused_are_let_in_by_a_new_file(tmp_path: Path) -> None:
    """Rules about clients' certificates change while the server runs."""
    path = write_configuration(tmp_path, SERVER + CLIENTS)
    door = Door(path)
    with pytest.raises(OSError, match=r"(?i)certificate.required"):
        show_certificate(door)
    path.write_text(SERVER)
    assert show_certificate(door)


def test_a_rotation_under_way_keeps_the_certificate_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Between a new key and its certificate nobody is refused; it is said once, and its end too."""
    door = Door(write_configuration(tmp_path, SERVER + USERS))
    before = door.context
    (tmp_path / "server.key").write_bytes(OTHER.private_key_pem.bytes())
    for _ in range(3):
        assert door.context is before
        assert (door.configuration is not None, door.problem) == (True, "")
    (message,) = list_messages(caplog, logging.ERROR)
    assert "does not belong to" in message
    assert message.endswith("The certificates of before stay in force.")
    write_certificate(tmp_path, "server", OTHER)
    wait_until(lambda: show_certificate(door) == read_der(OTHER))
    assert list_messages(caplog, logging.INFO)[-1].endswith("are in order again.")


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.pem"])
def test_a_certificate_that_is_gone_for_a_moment_stays_in_force(tmp_path: Path, name: str) -> None:
    """Deleting before writing is a rotation, too, and putting the old one back ends it."""
    door = Door(write_configuration(tmp_path, SERVER + CLIENTS))
    before = door.context
    (tmp_path / name).rename(tmp_path / "away")
    assert (door.context is before, door.problem) == (True, "")
    (tmp_path / "away").rename(tmp_path / name)
    assert shake_hands(door.context or before, make_client(OTHER)).peer  # type: ignore[arg-type]


def test_new_rules_without_a_usable_certificate_close_the_door(tmp_path: Path) -> None:
    """The old context knows nothing of rules that were made stricter, so it does not replace it."""
    path = write_configuration(tmp_path, SERVER)
    door = Door(path)
    (tmp_path / "ca.pem").write_text("junk")
    path.write_text(SERVER + CLIENTS)
    assert (door.configuration, "client_ca_file" in door.problem) == (None, True)
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    wait_until(lambda: door.configuration)
    assert shake_hands(door.context, make_client(OTHER)).peer  # type: ignore[arg-type]


def vanish(path: Path) -> None:
    path.unlink()


def turn_invalid(path: Path) -> None:
    path.write_text("junk: [")


def turn_empty(path: Path) -> None:
    path.write_text("")


def turn_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [vanish, turn_invalid, turn_empty, turn_into_a_folder])
@pytest.mark.parametrize("text", [USERS, SERVER + USERS], ids=["plain", "tls"])
def test_a_file_that_turned_invalid_closes_the_door_until_it_is_valid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], text: str
) -> None:
    """A mistake never lets anybody in; it is said once, and is over when it is corrected."""
    path = write_configuration(tmp_path, text)
    door = Door(path)
    before = door.context
    spoil(path)
    for _ in range(3):
        assert door.configuration is None
        assert door.context is before
    assert list_messages(caplog, logging.ERROR) == [door.problem]
    assert str(path) in door.problem
    assert HASH not in door.problem
    if path.is_dir():
        path.rmdir()
    write_configuration(tmp_path, text)
    wait_until(lambda: door.configuration)
    assert door.configuration
    assert (dict(door.configuration.users), door.problem) == ({"a": HASH}, "")
    assert list_messages(caplog, logging.INFO)[-1].endswith("are in order again.")
    assert len(list_messages(caplog, logging.ERROR)) == 1


def test_what_nobody_has_foreseen_closes_the_door_as_well(
    tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New rules that could not be taken over leave the old ones in force for nobody."""

    def fail(tls: TLS) -> NoReturn:
        raise MemoryError

    path = write_configuration(tmp_path, "{}")
    door = Door(path)
    with monkeypatch.context() as patched:
        patched.setattr("metrics_commands.server.door.make_context", fail)
        path.write_text(SERVER)
        with pytest.raises(MemoryError):
            assert not door.configuration
        assert door.configuration is None
    wait_until(lambda: door.configuration)
    assert (door.problem, door.context is None) == ("", False)


def test_another_mistake_is_said_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever corrects one mistake by another sees which one is left."""
    path = write_configuration(tmp_path, USERS)
    door = Door(path)
    for text in ("a: b", "a: b\n# the same\n", "\na: b"):
        path.write_text(text)
        assert door.configuration is None
    first, second = list_messages(caplog, logging.ERROR)
    assert (":1: " in first, ":2: " in second) == (True, True)


def test_an_empty_file_may_be_filled_and_an_explicit_one_opens(tmp_path: Path) -> None:
    """Only what empties a file by accident is taken for a mistake."""
    path = write_configuration(tmp_path, "")
    door = Door(path)
    assert door.configuration == WebConfiguration(is_blank=True)
    path.write_text(USERS)
    assert door.configuration
    assert door.configuration.users
    path.write_text("{}")
    assert door.configuration == WebConfiguration()


def test_the_end_of_tls_is_followed_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file decides about its transport in both directions; the weaker one is told."""
    path = write_configuration(tmp_path, SERVER)
    door = Door(path)
    path.write_text("{}")
    assert (door.context, door.configuration) == (None, WebConfiguration())
    (message,) = list_messages(caplog, logging.WARNING)
    assert message.endswith("no longer asks for TLS: metrics are served in clear.")
    path.write_text(SERVER)
    assert door.context is not None


def test_a_reload_reads_all_again(tmp_path: Path, settled: None) -> None:
    """A signal closes no connection where nothing has changed, and breaks nothing with junk."""
    path = write_configuration(tmp_path, SERVER)
    door = Door(path)
    before = door.context
    door.reload()
    assert door.context is before
    (tmp_path / "server.key").write_text("junk")
    before = door.context
    door.reload()
    assert (door.context is before, door.problem) == (True, "")


@pytest.mark.parametrize(("name", "text"), [("web.yml", USERS), ("server.key", SERVER)])
def test_a_secret_that_everybody_may_read_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    """Whoever left a key readable is told at the start, and not at every request."""
    path = write_configuration(tmp_path, text)
    (tmp_path / name).chmod(0o644)
    door = Door(path)
    door.reload()
    path.write_text(f"{text}# changed\n")
    assert door.configuration
    (message,) = list_messages(caplog, logging.WARNING)
    assert message == f"{tmp_path / name} can be read by every user, and holds a secret."


def test_looking_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    """A thousand reloads, good ones and bad, cost no descriptor."""
    path = write_configuration(tmp_path, SERVER)
    door = Door(path)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        path.write_text("junk" if number % 2 else SERVER)
        door.reload()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["server.key", "server.pem"])
def test_a_pipe_in_place_of_a_file_holds_up_nobody(
    tmp_path: Path, settled: None, name: str
) -> None:
    """Who puts a pipe there, on purpose or not, does not stop the event loop."""
    path = write_configuration(tmp_path, SERVER)
    door = Door(path)
    before = door.context
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    assert door.context is before
    assert door.configuration is not None
    with pytest.raises(ExporterError, match="not a regular file"):
        Door(path)
