"""The server's TLS context, whose certificate is let in, and how long its own one holds."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from ..errors import name_user
from .tls_configuration import TLS, Pem
from .web_document import fail, is_regular, open_at_once

NAMES = {"DNS", "email", "URI", "IP Address"}
# Of OpenSSL: verify, but leave the dates to us, who want to tell them.
NO_CHECK_TIME = 0x200000
RELATIVE = "A relative path is below the folder of the web configuration file."
PEM_CERTIFICATE = "Give it in PEM format, with a line -----BEGIN CERTIFICATE-----."


class _EncryptedError(Exception):
    """A key asks for a passphrase."""


def make_context(tls: TLS) -> ssl.SSLContext:
    """Make a server's context, or raise ExporterError where a part of it cannot be loaded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = tls.minimum
    context.maximum_version = tls.maximum
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if tls.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if tls.curve:
        context.set_ecdh_curve(tls.curve)
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, tls)
    if tls.client_ca:
        load_authorities(context, tls.client_ca)
    context.verify_mode = tls.client_auth
    return context


def load_certificate(context: ssl.SSLContext, tls: TLS) -> None:
    """Load the certificate with its key."""

    def refuse_to_ask() -> str:
        raise _EncryptedError

    with open_pem(tls.certificate) as certificate, open_pem(tls.key) as key:
        try:
            context.load_cert_chain(certificate, key, refuse_to_ask)
        except _EncryptedError:
            hint = "Write it without one: openssl pkey -in KEY -out KEY_WITHOUT_PASSPHRASE"
            refuse(tls.key, "is encrypted, and nobody is there to give the passphrase", hint)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                what = f"does not belong to the certificate of {tls.certificate.key}"
                refuse(tls.key, what, advise(tls))
            if not has_certificate(tls.certificate, certificate):
                what = f"holds no usable certificate{tell_reason(error)}"
                refuse(tls.certificate, what, PEM_CERTIFICATE)
            what = f"and {tls.certificate.key} cannot be used{tell_reason(error)}"
            refuse(tls.key, what, advise(tls))
        except OSError as error:
            refuse(tls.key, f"or {tls.certificate.key} cannot be read: {error.strerror}")


def advise(tls: TLS) -> str:
    """Say what is read, and what belongs together."""
    certificate, key = (each.path or "the text itself" for each in (tls.certificate, tls.key))
    return (
        f"The certificate is read from {certificate}, the key from {key}. Give the key that the"
        " certificate was made with, both in PEM format."
    )


def has_certificate(pem: Pem, path: Path) -> bool:
    """Tell whether a certificate can be read, whatever its key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError):
        return False
    return True


def load_authorities(context: ssl.SSLContext, authorities: Pem) -> None:
    """Trust those who may sign a client's certificate; each of them is an anchor, as in Go."""
    with open_pem(authorities) as path:
        try:
            context.load_verify_locations(path)
        except ssl.SSLError as error:
            what = f"holds no usable certificate{tell_reason(error)}"
            refuse(authorities, what, PEM_CERTIFICATE)
        except OSError as error:
            refuse(authorities, f"cannot be read: {error.strerror}")
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def refuse(pem: Pem, what: str, hint: str = "") -> NoReturn:
    """Refuse what a key of the file names or holds."""
    fail(pem.place, f"{pem.key} {what}", hint)


def tell_reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's own reason, which quotes nothing."""
    reason = (error.reason or "").replace("_", " ").lower()
    return f" ({reason})" if reason else ""


@contextmanager
def open_pem(pem: Pem) -> Iterator[Path]:
    """Yield a path from which OpenSSL can read; of a text it is gone afterwards."""
    if pem.path is not None:
        check_file(pem, pem.path)
        yield pem.path
        return
    content = pem.text.encode(errors="replace")
    with ExitStack() as opened:
        try:
            if hasattr(os, "memfd_create"):
                memory = opened.enter_context(open(os.memfd_create("pem"), "wb", buffering=0))
                memory.write(content)
                path = Path(f"/proc/self/fd/{memory.fileno()}")
            else:
                file = opened.enter_context(tempfile.NamedTemporaryFile(buffering=0))
                file.write(content)
                path = Path(file.name)
        except OSError as error:
            refuse(pem, f"cannot be handed to OpenSSL: {error.strerror}")
        yield path


def check_file(pem: Pem, path: Path) -> None:
    """Refuse a file that cannot be read; OpenSSL would not say which, and would wait at a pipe."""
    try:
        with open_at_once(path) as file:
            regular = is_regular(file)
    except OSError as error:
        hint = f"Name a file that is there, and that user {name_user()} may read. {RELATIVE}"
        refuse(pem, f"cannot be read: {error.strerror} ({path})", hint)
    if not regular:
        refuse(pem, f"cannot be read: it is not a regular file ({path})", RELATIVE)


def is_allowed(peer_certificate: Mapping[str, Any] | None, allowed_sans: Collection[str]) -> bool:
    """Tell whether a client's certificate, as ``getpeercert()`` gives it, has an allowed name.

    Without a list everybody is; with a list nobody who shows no certificate.
    """
    if not allowed_sans:
        return True
    names = (peer_certificate or {}).get("subjectAltName", ())
    own = {normalize(name) for kind, name in names if kind in NAMES}
    return not own.isdisjoint(map(normalize, allowed_sans))


def normalize(name: str) -> str:
    """Return an IP address in its one form, and any other name as it is."""
    try:
        return str(ip_address(name.strip()))
    except ValueError:
        return name


def read_validity(tls: TLS) -> tuple[float, float]:
    """Return from when to when the server's certificate holds, in seconds since the epoch.

    Python decodes certificates only of a peer, so a handshake in memory is what reads it.
    """
    server = make_context(TLS(tls.certificate, tls.key))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    shown = shake_hands(server, client).getpeercert(binary_form=True)
    client.load_verify_locations(cadata=shown)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(NO_CHECK_TIME)
    client.verify_mode = ssl.CERT_REQUIRED
    try:
        certificate = shake_hands(server, client).getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        refuse(tls.certificate, f"is not for a server ({error.verify_message})")
    begin, end = (str(certificate[each]) for each in ("notBefore", "notAfter"))
    return ssl.cert_time_to_seconds(begin), ssl.cert_time_to_seconds(end)


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's side of a handshake that has been made in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=None),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    pending = list(sides)
    while pending:
        for side in list(pending):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            pending.remove(side)
    return sides[0]
