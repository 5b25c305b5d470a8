"""The section of the web configuration file about TLS, and what of it Python cannot do."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from ..finding import Place
from .web_document import Entry

KEYS = (
    "cert", "cert_file", "key", "key_file", "client_auth_type", "client_ca", "client_ca_file",
    "client_allowed_sans", "min_version", "max_version", "cipher_suites",
    "prefer_server_cipher_suites", "curve_preferences",
)  # fmt: skip
# As upstream: the other keys alone switch nothing on.
SWITCHING = {
    "cert", "cert_file", "key", "key_file", "client_auth_type", "client_ca", "client_ca_file",
}  # fmt: skip
NO_CLIENT_CERTIFICATE = "NoClientCert"
CLIENT_AUTH = {
    NO_CLIENT_CERTIFICATE: ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
UNVERIFIED = {"RequestClientCert", "RequireAnyClientCert", "RequireClientCert"}
VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
OLD_VERSIONS = {"TLS10", "TLS11"}
CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
CIPHERS = {
    f"TLS_ECDHE_{key}_WITH_{suite}": f"ECDHE-{key}-{name}"
    for key in ("ECDSA", "RSA")
    for suite, name in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
        # Go knows it by this name, too.
        "CHACHA20_POLY1305": "CHACHA20-POLY1305",
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
    }.items()
}
TLS13_CIPHERS = {
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
}  # fmt: skip


@dataclass(frozen=True)
class Pem:
    """A certificate, a key or authorities: in a file of their own, or in the text itself."""

    key: str
    path: Path | None = None
    text: str = field(default="", repr=False)
    # A comment more, further up, makes no other configuration.
    place: Place = field(default=Place(""), compare=False)


@dataclass(frozen=True)
class TLS:
    """How to speak TLS; ``ciphers`` and ``curve`` by OpenSSL's names, empty for its defaults."""

    certificate: Pem
    key: Pem
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    client_ca: Pem | None = None
    allowed_sans: tuple[str, ...] = ()
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] = ()
    prefer_server_ciphers: bool = True
    curve: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files that it is made of."""
        parts = (self.certificate, self.key, self.client_ca)
        return tuple(each.path for each in parts if each and each.path)


def read_tls(section: Entry, folder: Path) -> TLS | None:
    """Return how to speak TLS, None where the section does not switch it on."""
    entries = section.as_section(KEYS)
    client_auth = read_client_auth(entries)
    minimum = read_version(entries.get("min_version"), ssl.TLSVersion.TLSv1_2)
    maximum = read_version(entries.get("max_version"), ssl.TLSVersion.TLSv1_3)
    if minimum > maximum:
        entries["min_version"].refuse("is above max_version")
    preference = entries.get("prefer_server_cipher_suites")
    tls = TLS(
        certificate=read_pem(entries, "cert", folder) or Pem("cert"),
        key=read_pem(entries, "key", folder) or Pem("key"),
        client_auth=client_auth,
        client_ca=read_pem(entries, "client_ca", folder),
        allowed_sans=read_sans(entries.get("client_allowed_sans")),
        minimum=minimum,
        maximum=maximum,
        ciphers=read_ciphers(entries.get("cipher_suites")),
        prefer_server_ciphers=preference.as_flag() if preference else True,
        curve=read_curve(entries.get("curve_preferences")),
    )
    check_clients(section, entries, tls)
    if not SWITCHING & entries.keys():
        return None
    for name in ("cert", "key"):
        if not {name, f"{name}_file"} & entries.keys():
            hint = f"Add {name}_file with the path of a PEM file; a relative one is below {folder}."
            section.refuse(f"lacks {name}_file or {name}", hint)
    return tls


def check_clients(section: Entry, entries: dict[str, Entry], tls: TLS) -> None:
    """Refuse what would verify nobody, or everybody, against the writer's expectation."""
    if tls.client_auth is ssl.CERT_NONE:
        for name in ("client_ca", "client_ca_file", "client_allowed_sans"):
            if name in entries:
                hint = "Set client_auth_type to RequireAndVerifyClientCert."
                entries[name].refuse("would verify no client without a client_auth_type", hint)
    elif tls.client_ca is None:
        # Upstream would take a certificate that any public authority has signed.
        entries["client_auth_type"].refuse("needs client_ca_file or client_ca")


def read_client_auth(entries: dict[str, Entry]) -> ssl.VerifyMode:
    """Return whether clients show a certificate."""
    entry = entries.get("client_auth_type")
    if entry is None:
        return ssl.CERT_NONE
    name = entry.as_text()
    if name in UNVERIFIED:
        hint = f"Write {' or '.join(CLIENT_AUTH)}."
        entry.refuse("asks for certificates without verifying them, which Python cannot do", hint)
    return CLIENT_AUTH[entry.as_choice(CLIENT_AUTH)]


def read_pem(entries: dict[str, Entry], name: str, folder: Path) -> Pem | None:
    """Return what either of two keys gives; a relative path starts at the file's own folder."""
    inline, file = entries.get(name), entries.get(f"{name}_file")
    if inline and file:
        inline.refuse(f"and {name}_file exclude each other")
    if inline:
        return Pem(inline.key, text=inline.as_text(), place=inline.place)
    if file:
        return Pem(file.key, folder / file.as_line(), place=file.place)
    return None


def read_version(entry: Entry | None, default: ssl.TLSVersion) -> ssl.TLSVersion:
    """Return a version of TLS."""
    if entry is None:
        return default
    if entry.as_text() in OLD_VERSIONS:
        entry.refuse("is older than TLS12, which Python no longer speaks safely")
    return VERSIONS[entry.as_choice(VERSIONS)]


def read_sans(entry: Entry | None) -> tuple[str, ...]:
    """Return the names of which a client's certificate needs one."""
    if entry is None:
        return ()
    names = tuple(each.as_line() for each in entry.as_list())
    if not names:
        entry.refuse("allows nobody")
    return names


def read_ciphers(entry: Entry | None) -> tuple[str, ...]:
    """Return the cipher suites for TLS 1.2, by OpenSSL's names."""
    if entry is None:
        return ()
    ciphers = []
    for each in entry.as_list():
        name = each.as_text()
        if name in TLS13_CIPHERS:
            each.refuse("is a cipher suite of TLS 1.3, which Python cannot choose")
        if name not in CIPHERS:
            each.refuse("is an unknown or insecure cipher suite", f"Known: {', '.join(CIPHERS)}.")
        if not is_available(CIPHERS[name]):
            each.refuse("is a cipher suite that this machine's OpenSSL does not have")
        ciphers.append(CIPHERS[name])
    if not ciphers:
        entry.refuse("allows no cipher suite")
    return tuple(ciphers)


def is_available(cipher: str) -> bool:
    """Tell whether OpenSSL has a cipher suite."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(cipher)
    except ssl.SSLError:
        return False
    return any(each["name"] == cipher for each in context.get_ciphers())


def read_curve(entry: Entry | None) -> str:
    """Return the curve, by OpenSSL's name."""
    if entry is None:
        return ""
    curves = [CURVES[each.as_choice(CURVES)] for each in entry.as_list()]
    if len(curves) != 1:
        entry.refuse("must have one curve, since Python cannot choose several")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(curves[0])
    except (ssl.SSLError, ValueError):
        entry.refuse("has a curve that this Python cannot choose")
    return curves[0]
