"""TLS as the web configuration file asks for it, in real handshakes over sockets."""

from __future__ import annotations

import errno
import os
import ssl
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import gettempdir
from textwrap import indent
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.errors import ExporterError
from metrics_commands.server.tls import is_allowed, make_context, read_validity
from metrics_commands.server.tls_configuration import CIPHERS, CURVES, TLS
from metrics_commands.server.web_configuration import load
from tests.ports.sockets import needs_root, run_python
from tests.server.certificates import (
    AUTHORITY,
    CERTIFICATE_PEM,
    KEY_PEM,
    OTHER,
    SERVER,
    make_client,
    shake_hands,
    write_certificate,
    write_configuration,
)

CA_LINE = "client_ca_file: ca.pem"
REQUIRED = "client_auth_type: RequireAndVerifyClientCert"
VERIFYING = f"{SERVER}  {CA_LINE}\n  {REQUIRED}\n"
GIVEN = "client_auth_type: VerifyClientCertIfGiven"
EC_CIPHERS = sorted(name for name in CIPHERS if "ECDSA" in name)


def load_tls(folder: Path, text: str = SERVER) -> TLS:
    """Return what a file says of TLS."""
    tls = load(write_configuration(folder, text)).tls
    assert tls
    return tls


def serve(folder: Path, *lines: str) -> ssl.SSLContext:
    """Return a server's context, from a file with a certificate and these lines."""
    return make_context(load_tls(folder, SERVER + "".join(f"  {each}\n" for each in lines)))


def make_inline() -> str:
    """Return a section that holds the certificate, the key and the authority itself."""
    authority = AUTHORITY.cert_pem.bytes().decode()
    parts = {"cert": CERTIFICATE_PEM, "key": KEY_PEM, "client_ca": authority}
    lines = [f"  {name}: |\n{indent(pem, '    ')}" for name, pem in parts.items()]
    return f"tls_server_config:\n{''.join(lines)}  {REQUIRED}\n"


def test_a_client_gets_tls_1_3_and_http_1_1(tmp_path: Path) -> None:
    """A client that offers HTTP/2 as well is answered in the version that is spoken."""
    client = make_client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    found = shake_hands(serve(tmp_path), client)
    assert (found.version, found.protocol, found.peer) == ("TLSv1.3", "http/1.1", None)
    client.set_alpn_protocols(["h2"])
    assert shake_hands(serve(tmp_path), client).protocol is None


def test_inline_certificates_leave_nothing_behind(tmp_path: Path) -> None:
    """A key that stands in the file itself is on no disk, and in no descriptor, afterwards."""
    tls = load_tls(tmp_path, make_inline())
    before = set(os.listdir("/proc/self/fd")), set(os.listdir(gettempdir()))
    context = make_context(tls)
    assert (set(os.listdir("/proc/self/fd")), set(os.listdir(gettempdir()))) == before
    assert shake_hands(context, make_client(OTHER)).peer


def test_inline_certificates_work_without_memory_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has none, as macOS, a private file is there for a moment."""
    monkeypatch.delattr(os, "memfd_create")
    tls = load_tls(tmp_path, make_inline())
    before = set(os.listdir(gettempdir()))
    assert shake_hands(make_context(tls), make_client(OTHER)).version == "TLSv1.3"
    assert set(os.listdir(gettempdir())) == before


def test_inline_certificates_that_have_no_place_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a descriptor there is a sentence, and no traceback."""

    def refuse(name: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    tls = load_tls(tmp_path, make_inline())
    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(ExporterError, match=r"cert cannot be handed to OpenSSL: Too many open"):
        make_context(tls)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_are_refused(tmp_path: Path) -> None:
    """A client that speaks TLS 1.1 at most gets no page."""
    client = make_client()
    client.minimum_version = ssl.TLSVersion.TLSv1
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        shake_hands(serve(tmp_path), client)


@pytest.mark.parametrize(
    ("line", "version", "refused"),
    [
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
    ],
)
def test_versions_are_those_of_the_file(
    tmp_path: Path, line: str, version: ssl.TLSVersion, refused: ssl.TLSVersion
) -> None:
    """A version that is left out is refused."""
    context = serve(tmp_path, line)
    client = make_client()
    client.minimum_version = client.maximum_version = version
    assert shake_hands(context, client).version == version.name.replace("_", ".")
    client = make_client()
    client.minimum_version = client.maximum_version = refused
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        shake_hands(context, client)


@pytest.mark.parametrize("name", EC_CIPHERS)
def test_one_common_cipher_suite_is_used(tmp_path: Path, name: str) -> None:
    """A server of one suite serves who has it, and refuses who has not."""
    context = serve(tmp_path, f"cipher_suites: [{name}]")
    client = make_client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(CIPHERS[name])
    assert shake_hands(context, client).cipher == CIPHERS[name]
    client.set_ciphers(":".join(set(CIPHERS.values()) - {CIPHERS[name]}))
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure|no.shared.cipher"):
        shake_hands(context, client)


@pytest.mark.parametrize(("preference", "chosen"), [("true", 0), ("false", 1)])
def test_who_prefers_decides_the_cipher_suite(tmp_path: Path, preference: str, chosen: int) -> None:
    """The server's order counts, or the client's, as the file says."""
    names = ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
    context = serve(
        tmp_path,
        f"cipher_suites: [{', '.join(names)}]",
        f"prefer_server_cipher_suites: {preference}",
    )
    client = make_client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(":".join(CIPHERS[each] for each in reversed(names)))
    assert shake_hands(context, client).cipher == CIPHERS[names[chosen]]


@pytest.mark.parametrize("name", CURVES)
def test_one_common_curve_is_used(tmp_path: Path, name: str) -> None:
    """A server of one curve serves who has it, and refuses who has not."""
    try:
        context = serve(tmp_path, f"curve_preferences: [{name}]")
    except ExporterError as error:
        assert "this Python cannot choose" in error.message  # noqa: PT017, Python 3.10 and X25519
        return
    client = make_client()
    client.set_ecdh_curve(CURVES[name])
    assert shake_hands(context, client).version == "TLSv1.3"
    other = "CurveP384" if name == "CurveP521" else "CurveP521"
    client.set_ecdh_curve(CURVES[other])
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        shake_hands(context, client)


def test_a_client_certificate_is_required(tmp_path: Path) -> None:
    """Who shows none, or one of a stranger, is refused; who shows a good one is known."""
    context = serve(tmp_path, CA_LINE, REQUIRED)
    stranger = trustme.CA().issue_cert("localhost")
    for shown, problem in ((None, "certificate.required"), (stranger, "unknown.ca")):
        with pytest.raises(ssl.SSLError, match=rf"(?i){problem}"):
            shake_hands(context, make_client(shown))
    client = make_client(OTHER)
    found = shake_hands(context, client)
    assert found.peer
    again = shake_hands(context, client, found.session)
    assert (again.resumed, again.peer) == (True, found.peer)


def test_a_client_certificate_may_be_left_out_where_it_is_only_verified(tmp_path: Path) -> None:
    """One that is shown has to be good all the same."""
    context = serve(tmp_path, CA_LINE, GIVEN)
    assert shake_hands(context, make_client()).peer in (None, {})
    assert shake_hands(context, make_client(OTHER)).peer
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        shake_hands(context, make_client(trustme.CA().issue_cert("localhost")))


def test_an_authority_below_another_is_trusted_by_itself(tmp_path: Path) -> None:
    """Who names an intermediate authority trusts its clients, and not those of its parent."""
    below = AUTHORITY.create_child_ca()
    path = write_configuration(tmp_path, VERIFYING)
    below.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = load(path).tls
    assert tls
    assert shake_hands(make_context(tls), make_client(below.issue_cert("localhost"))).peer
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"):
        shake_hands(make_context(tls), make_client(OTHER))


@pytest.mark.parametrize(
    ("name", "allowed", "answer"),
    [
        ("a.example", ["b.example", "a.example"], True),
        ("a.example", [], True),
        ("a.example", ["A.example"], False),
        ("a.example", ["example", "b.a.example", "*.example"], False),
        ("*.example", ["a.example"], False),
        ("me@a.example", ["me@a.example"], True),
        ("me@a.example", ["a.example"], False),
        ("10.0.0.1", ["10.0.0.1"], True),
        ("10.0.0.1", ["10.0.0.10", "10.0.0.0/8"], False),
        ("2001:db8::1", ["2001:DB8:0:0::1"], True),
        ("2001:db8::1", ["2001:db8::2"], False),
    ],
)
def test_a_name_of_the_client_s_certificate_has_to_be_on_the_list(
    tmp_path: Path, name: str, allowed: list[str], answer: bool
) -> None:
    """Names match whole and exactly, addresses in whatever way they are written."""
    context = serve(tmp_path, CA_LINE, REQUIRED)
    found = shake_hands(context, make_client(AUTHORITY.issue_cert(name)))
    assert is_allowed(found.peer, allowed) is answer


def test_a_uri_is_a_name_and_a_common_name_is_none() -> None:
    """A SPIFFE id can be allowed; what is not among the alternative names counts for nothing."""
    peer = {
        "subject": ((("commonName", "a"),),),
        "subjectAltName": (("URI", "spiffe://a/b"), ("DirName", "b"), ("IP Address", "<invalid>")),
    }
    assert is_allowed(peer, ["spiffe://a/b"])
    assert not is_allowed(peer, ["a", "b", "spiffe://a"])


@pytest.mark.parametrize("peer", [None, {}])
def test_a_list_keeps_out_who_shows_no_certificate(peer: dict[str, Any] | None) -> None:
    """A list of names is never passed without a name."""
    assert not is_allowed(peer, ["a"])
    assert is_allowed(peer, [])


@given(st.lists(st.text(max_size=8)), st.lists(st.text(max_size=8), min_size=1))
@settings(max_examples=100)
def test_only_a_common_name_lets_in(own: list[str], allowed: list[str]) -> None:
    """Whatever the names are, one has to be on both sides."""
    peer = {"subjectAltName": tuple(("DNS", each) for each in own)}
    same = {each.strip() for each in own} & {each.strip() for each in allowed}
    assert is_allowed(peer, allowed) <= bool(same)
    assert is_allowed(peer, allowed) >= bool(set(own) & set(allowed))


def encrypt(pem: str) -> bytes:
    """Return a key behind a passphrase."""
    key = serialization.load_pem_private_key(pem.encode(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


BROKEN: dict[str, tuple[str, bytes | None, int, str]] = {
    "no certificate": ("server.pem", None, 2, "cert_file cannot be read: No such file"),
    "no key": ("server.key", None, 3, "key_file cannot be read: No such file"),
    "junk certificate": ("server.pem", b"junk", 2, "cert_file holds no usable certificate"),
    "empty certificate": ("server.pem", b"", 2, "cert_file holds no usable certificate"),
    "junk key": ("server.key", b"junk", 3, "key_file and tls_server_config.cert_file cannot be"),
    "empty key": ("server.key", b"", 3, "key_file and tls_server_config.cert_file cannot be"),
    "another key": ("server.key", OTHER.private_key_pem.bytes(), 3, "does not belong to the"),
    "encrypted key": ("server.key", encrypt(KEY_PEM), 3, "is encrypted, and nobody is there"),
    "no authority": ("ca.pem", None, 4, "client_ca_file cannot be read: No such file"),
    "junk authority": ("ca.pem", b"junk", 4, "client_ca_file holds no usable certificate"),
    "empty authority": ("ca.pem", b"", 4, "client_ca_file holds no usable certificate"),
}


@pytest.mark.parametrize(("name", "content", "line", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_loaded_is_told_with_its_key_and_line(
    tmp_path: Path, name: str, content: bytes | None, line: int, expected: str
) -> None:
    """Whoever mounts the wrong file is told which one; nothing asks at a terminal."""
    path = write_configuration(tmp_path, VERIFYING)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    tls = load(path).tls
    assert tls
    with pytest.raises(ExporterError) as caught:
        make_context(tls)
    assert caught.value.message.startswith(f"{path}:{line}: tls_server_config.")
    assert expected in caught.value.message
    assert caught.value.exit_code == 2
    # The next step, and where the file is that a relative path means.
    assert caught.value.hint
    if content is None:
        assert caught.value.message.endswith(f" ({tmp_path / name}).")
    if "belong" in expected:
        assert (
            f"from {tmp_path}/server.pem, the key from {tmp_path}/server.key." in caught.value.hint
        )


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.pem"])
def test_special_files_are_refused(tmp_path: Path, name: str) -> None:
    """A pipe instead of a certificate does not make the server wait for a writer."""
    tls = load_tls(tmp_path, VERIFYING)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ExporterError, match="not a regular file"):
        make_context(tls)


@needs_root
def test_a_key_of_another_user_is_told(tmp_path: Path) -> None:
    """The usual mistake, a key that only root may read, is named as such."""
    path = write_configuration(tmp_path, make_inline().partition("  key:")[0] + "  key_file: k\n")
    (tmp_path / "k").touch(0o600)
    imports = f"""
from pathlib import Path
from metrics_commands.errors import ExporterError
from metrics_commands.server.tls import make_context
from metrics_commands.server.web_configuration import load
tls = load(Path({str(path)!r})).tls
os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""
    code = "try:\n    make_context(tls)\nexcept ExporterError as error:\n    print(error)"
    message, hint = run_python(code, before=imports).splitlines()
    assert message.endswith(f"key_file cannot be read: Permission denied ({tmp_path}/k).")
    assert "that user nobody may read" in hint


@pytest.mark.parametrize("days", [(-2, -1), (-1, 1), (1, 2)], ids=["past", "now", "future"])
def test_a_certificate_tells_its_dates_whatever_they_are(
    tmp_path: Path, days: tuple[int, int]
) -> None:
    """Also of one that has ended, or does not hold yet, both days are known."""
    now = datetime.now(timezone.utc)
    begin, end = (now + timedelta(days=each) for each in days)
    tls = load_tls(tmp_path, VERIFYING)
    issued = AUTHORITY.issue_cert("localhost", not_before=begin, not_after=end)
    write_certificate(tmp_path, "server", issued)
    assert read_validity(tls) == pytest.approx((begin.timestamp(), end.timestamp()), abs=1)
    assert time.time() == pytest.approx(now.timestamp(), abs=60)


@pytest.mark.parametrize("kind", [trustme.KeyType.RSA, trustme.KeyType.ECDSA])
def test_keys_of_both_kinds_serve(tmp_path: Path, kind: trustme.KeyType) -> None:
    """RSA keys are as good as those of elliptic curves."""
    tls = load_tls(tmp_path)
    write_certificate(tmp_path, "server", AUTHORITY.issue_cert("localhost", key_type=kind))
    assert shake_hands(make_context(tls), make_client()).version == "TLSv1.3"
    assert read_validity(tls)[1] > time.time()
