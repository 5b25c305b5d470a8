"""Whatever stands in a web configuration file, it is understood or refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.errors import ExporterError
from metrics_commands.server.web_configuration import load

SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
KEYS = (
    *SECTIONS, "cert_file", "cert", "key_file", "key", "client_auth_type", "client_ca_file",
    "client_ca", "client_allowed_sans", "min_version", "max_version", "cipher_suites",
    "prefer_server_cipher_suites", "curve_preferences", "http2", "headers", "interval", "burst",
    "Content-Security-Policy", "X-Frame-Options", "Strict-Transport-Security", "alice",
    "cert_filse",
)  # fmt: skip
VALUES = (
    "", "a.pem", "NoClientCert", "RequireAnyClientCert", "RequireAndVerifyClientCert", "TLS12",
    "TLS13", "TLS10", "TLS111", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256",
    "CurveP256", "X25519", "deny", "nosniff", "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ", "1s",
    "1h1h", "-1s", "-----BEGIN CERTIFICATE-----\n", "<<", "&a", "*a", "!!binary x", "\0", "\ud800",
    None, True, False, 0, -1, 1, 10**30, 0.5, float("nan"),
)  # fmt: skip
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(VALUES) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
DOCUMENT = st.dictionaries(
    st.sampled_from(SECTIONS),
    st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=6) | VALUE,
    max_size=4,
).map(lambda document: yaml.dump(document).encode(errors="replace"))
DAMAGED = st.builds(
    lambda content, start, length, inserted: content[:start] + inserted + content[start + length :],
    DOCUMENT,
    st.integers(0, 300),
    st.integers(0, 20),
    st.binary(max_size=5) | st.sampled_from((b"\t", b"&a ", b"*a", b"---\n", b"[" * 500, b"\xff")),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the file is."""
    return tmp_path_factory.mktemp("configuration") / "web.yml"


def find_mistake(path: Path) -> ExporterError | None:
    """Return why a file is refused, or None if it is understood."""
    try:
        load(path)
    except ExporterError as error:
        return error
    return None


@settings.get_profile("fuzz")
@given(content=st.one_of(DOCUMENT, DAMAGED, st.binary(), st.text().map(str.encode)))
def test_any_file_is_understood_or_refused(path: Path, content: bytes) -> None:
    """Nothing in a file surprises its reader, and what is said about it fits on one line."""
    path.write_bytes(content)
    mistake = find_mistake(path)
    if mistake is not None:
        assert mistake.message.startswith((str(path), "The web configuration file "))
        assert mistake.message.isprintable()
        assert mistake.exit_code == 2
