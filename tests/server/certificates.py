"""Real certificates in real files, and real handshakes between two contexts."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from tests.processes import TIMEOUT

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("localhost", "127.0.0.1")
OTHER = AUTHORITY.issue_cert("localhost")
CERTIFICATE_PEM = b"".join(each.bytes() for each in CERTIFICATE.cert_chain_pems).decode()
KEY_PEM = CERTIFICATE.private_key_pem.bytes().decode()
SERVER = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"


@dataclass
class Handshake:
    """What both sides agreed on."""

    version: str | None
    cipher: str
    protocol: str | None
    certificate: bytes | None
    peer: dict[str, Any] | None
    session: ssl.SSLSession | None
    resumed: bool | None


def write_certificate(folder: Path, name: str, certificate: trustme.LeafCert) -> None:
    """Write ``name.pem`` and ``name.key``, the key for the owner alone."""
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    (folder / f"{name}.pem").write_bytes(chain)
    key = folder / f"{name}.key"
    key.write_bytes(certificate.private_key_pem.bytes())
    key.chmod(0o600)


def write_configuration(folder: Path, text: str, name: str = "web.yml") -> Path:
    """Write a web configuration file, beside a server's certificate and an authority."""
    if not (folder / "server.pem").exists():
        write_certificate(folder, "server", CERTIFICATE)
        AUTHORITY.cert_pem.write_to_path(str(folder / "ca.pem"))
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def make_client(certificate: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """Return a client that trusts the authority, and may show a certificate."""
    client = ssl.create_default_context()
    AUTHORITY.configure_trust(client)
    if certificate:
        certificate.configure_cert(client)
    return client


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Handshake:
    """Connect over sockets and exchange a byte; raise the error of the side that refused."""
    near, far = socket.socketpair()
    peers: list[dict[str, Any] | None] = []
    errors: list[OSError] = []

    def serve() -> None:
        far.settimeout(TIMEOUT)
        try:
            with server.wrap_socket(far, server_side=True) as accepted:
                peers.append(accepted.getpeercert())
                accepted.sendall(b"x")
                accepted.recv(1)
        except OSError as error:
            errors.append(error)
            far.close()

    near.settimeout(TIMEOUT)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname="localhost", session=session) as opened:
            received = opened.recv(1)
            cipher = opened.cipher()
            shown = opened.getpeercert(binary_form=True)
            found = Handshake(
                opened.version(), cipher[0] if cipher else "", opened.selected_alpn_protocol(),
                shown, None, opened.session, opened.session_reused,
            )  # fmt: skip
    finally:
        near.close()
        thread.join(TIMEOUT)
    if not received:
        raise errors[0]
    found.peer = peers[0]
    return found
