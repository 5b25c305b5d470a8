"""The web configuration file: all of its schema, and every mistake told with its key and line."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics_commands.errors import ExporterError
from metrics_commands.server.tls_configuration import CIPHERS, TLS, Pem
from metrics_commands.server.web_configuration import (
    Rate,
    WebConfiguration,
    find_exposed,
    load,
)
from tests.ports.sockets import BECOME_NOBODY, needs_root, run_python

HASH = "$2b$04$cVNisS7npjPPAvHiGPiA2eWOwfIQOonoRGqvrvQyB6p/dTdBJ.OTO"
SECRET = "Zm9vYmFyU2VjcmV0"
PAIR = "cert_file: c, key_file: k"
TLS_SECTION = "tls_server_config:\n  cert_file: c\n  key_file: k\n"
VERIFYING = f"{TLS_SECTION}  client_ca_file: ca\n  client_auth_type: RequireAndVerifyClientCert\n"

WRONG = {
    "unknown section": ("# a\nbasic_auth_user: {}\n", 2, "basic_auth_user is not known"),
    "unknown key": (
        "tls_server_config:\n  cert_filse: c\n  key_file: k\n", 2, "tls_server_config.cert_filse",
    ),
    "unknown key deep": ("http_server_config: {http3: true}", 1, "http_server_config.http3"),
    "duplicate key": ("rate_limit:\n  burst: 1\n  burst: 2\n", 3, "rate_limit.burst stands"),
    "duplicate user": (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n", 3, "users.a stands"),
    "merge key": ("rate_limit:\n  <<: {burst: 1}\n", 2, "a key of rate_limit must be a text"),
    "a list": ("- a\n", 1, "the document must be a mapping"),
    "a text": ("junk", 1, "the document must be a mapping"),
    "section without a value": ("\nbasic_auth_users:\n", 2, "basic_auth_users must be a mapping"),
    "section of a text": ("rate_limit: 1s", 1, "rate_limit must be a mapping"),
    "foreign tag": ("rate_limit: !!python/object:os.system {}", 1, "rate_limit must be a mapping"),
    "key of a list": ("? [a]\n: b\n", 1, "a key of the document must be a text"),
    "key of nothing": (f"basic_auth_users:\n  ~: {HASH}\n", 2, "a key of basic_auth_users must"),
    "tab": ("rate_limit:\n\tburst: 1\n", 2, "this is not YAML"),
    "junk": ("a: [b\n", 2, "this is not YAML"),
    "two documents": ("---\nrate_limit: {}\n---\na: b\n", 3, "this is not YAML"),
    "undefined alias": ("rate_limit: *a", 1, "this is not YAML (found undefined alias)"),
    "control character": ("# ä\n\nrate_limit: \x01", 3, "YAML does not allow this character"),
    "deep": ("\na: " + "[" * 500, 2, "this is nested too deep"),
    # Since PyYAML 6.0.4 its own parser ends that first.
    "deeper": ("\na: " + "[" * 100_000, 2, "nest"),
    "recursive": ("rate_limit: &a\n  burst: *a\n", 1, "rate_limit.burst must be a whole number"),
    "cert_file empty": (
        "tls_server_config:\n  cert_file: ''\n  key_file: k\n", 2, "cert_file is empty",
    ),
    "cert empty": ("tls_server_config:\n  key: k\n  cert: ''\n", 3, "cert is empty"),
    "key_file empty": ("tls_server_config:\n  cert_file: c\n  key_file: ''", 3, "file is empty"),
    "key empty": ("tls_server_config:\n  cert: c\n  key: ''\n", 3, "config.key is empty"),
    "both empty": ("tls_server_config: {cert_file: '', key_file: ''}", 1, "cert_file is empty"),
    "key without value": ("tls_server_config: {cert_file: c, key_file: }", 1, "key_file must be"),
    "no key": ("tls_server_config:\n  cert_file: c", 2, "lacks key_file or key"),
    "no cert": ("tls_server_config:\n  key_file: k", 2, "lacks cert_file or cert"),
    "both forms": (f"tls_server_config: {{{PAIR}, cert: c}}", 1, "cert and cert_file exclude"),
    "path of two lines": (
        'tls_server_config: {cert_file: c, key_file: "a\\nb"}', 1, "key_file must be one line",
    ),
    "auth type alone": (
        "tls_server_config: {client_auth_type: NoClientCert}", 1, "lacks cert_file or cert",
    ),
    "CA without auth type": (
        f"{TLS_SECTION}  client_ca_file: ca\n", 4, "client_ca_file would verify no client",
    ),
    "inline CA with NoClientCert": (
        f"{TLS_SECTION}  client_auth_type: NoClientCert\n  client_ca: x\n", 5,
        "client_ca would verify no client",
    ),
    "SANs without auth type": (
        f"{TLS_SECTION}  client_allowed_sans: [a]\n", 4, "client_allowed_sans would verify",
    ),
    "no SAN": (
        f"{VERIFYING}  client_allowed_sans: []\n", 6, "client_allowed_sans allows nobody",
    ),
    "SAN of a mapping": (f"{TLS_SECTION}  client_allowed_sans:\n  - a: b\n", 5, "[0] must be a"),
    "auth type without CA": (
        f"{TLS_SECTION}  client_auth_type: RequireAndVerifyClientCert\n", 4, "needs client_ca_file",
    ),
    "given without CA": (
        f"{TLS_SECTION}  client_auth_type: VerifyClientCertIfGiven\n", 4, "needs client_ca_file",
    ),
    "invented auth type": (f"{TLS_SECTION}  client_auth_type: Ask\n", 4, "must be NoClientCert or"),
    "invented version": (f"{TLS_SECTION}  min_version: TLS111\n", 4, "must be TLS12 or TLS13"),
    "version 1.0": (f"{TLS_SECTION}  min_version: TLS10\n", 4, "is older than TLS12"),
    "version 1.1": (f"{TLS_SECTION}  max_version: TLS11\n", 4, "is older than TLS12"),
    "versions crossed": (
        f"{TLS_SECTION}  max_version: TLS12\n  min_version: TLS13\n", 5, "is above max_version",
    ),
    "invented cipher": (
        f"{TLS_SECTION}  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  - TLS_X\n", 6,
        "cipher_suites[1] is an unknown or insecure",
    ),
    "cipher of 1.3": (
        f"{TLS_SECTION}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n", 4, "cipher suite of TLS 1.3",
    ),
    "no cipher": (f"{TLS_SECTION}  cipher_suites: []\n", 4, "allows no cipher suite"),
    "ciphers of a text": (f"{TLS_SECTION}  cipher_suites: a\n", 4, "must be a list"),
    "invented curve": (f"{TLS_SECTION}  curve_preferences: [CurveP257]\n", 4, "must be CurveP256"),
    "two curves": (
        f"{TLS_SECTION}  curve_preferences: [CurveP256, X25519]\n", 4, "must have one curve",
    ),
    "no curve": (f"{TLS_SECTION}  curve_preferences: []\n", 4, "must have one curve"),
    "flag of a text": (f"{TLS_SECTION}  prefer_server_cipher_suites: 'true'\n", 4, "must be true"),
    "http2 of a number": ("http_server_config: {http2: 1}", 1, "http2 must be true or false"),
    "other header": (
        "http_server_config:\n  headers:\n    Content-Type: a\n", 3, "headers.Content-Type is not",
    ),
    "bad X-Content-Type-Options": (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}", 1, "must be nosniff",
    ),
    "bad X-Frame-Options": (
        "http_server_config: {headers: {X-Frame-Options: x}}", 1, "must be deny or sameorigin",
    ),
    "header injection": (
        'http_server_config: {headers: {X-XSS-Protection: "0\\r\\nA: b"}}', 1, "must be one line",
    ),
    "header beyond ASCII": (
        "http_server_config: {headers: {X-XSS-Protection: ä}}", 1, "must be ASCII",
    ),
    "no bcrypt hash": ("basic_auth_users:\n  a: plain\n", 2, "users.a must be a bcrypt hash"),
    "cost 3": (f"basic_auth_users: {{a: {HASH.replace('$04', '$03')}}}", 1, "must be a bcrypt"),
    "cost 32": (f"basic_auth_users: {{a: {HASH.replace('$04', '$32')}}}", 1, "must be a bcrypt"),
    "salt that bcrypt refuses": (
        f"basic_auth_users: {{a: {HASH[:28]}f{HASH[29:]}}}", 1, "must be a bcrypt hash",
    ),
    "user with a colon": (f"basic_auth_users: {{'a:b': {HASH}}}", 1, "with a colon"),
    "user without a name": (f"basic_auth_users: {{'': {HASH}}}", 1, "is empty"),
    "negative burst": ("rate_limit: {burst: -1}", 1, "burst must be a whole number from 0"),
    "burst of a text": ("rate_limit: {burst: '1'}", 1, "burst must be a whole number from 0"),
    "endless burst": (f"rate_limit: {{burst: {'9' * 5000}}}", 1, "burst must be a whole number"),
    "interval without unit": ("rate_limit: {interval: 5}", 1, "interval must be a duration"),
    "negative interval": ("rate_limit: {interval: -1s}", 1, "interval must be a duration"),
    "endless interval": ("rate_limit: {interval: 9999999h}", 1, "must not exceed a year"),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file of a test is written."""
    return tmp_path / "web.yml"


def refuse(path: Path, content: str | bytes | None = None) -> str:
    """Return why a file is refused."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ExporterError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    return caught.value.message


@pytest.mark.parametrize(("text", "line", "expected"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_told_with_its_key_and_line(
    path: Path, text: str, line: int, expected: str
) -> None:
    """Whoever wrote the file goes straight to the line that is wrong."""
    message = refuse(path, text)
    assert message.startswith(f"{path}:{line}: ")
    assert expected in message
    assert message.count("\n") == 0


@pytest.mark.parametrize("name", ["RequestClientCert", "RequireAnyClientCert", "RequireClientCert"])
def test_unverified_certificates_are_refused_with_a_reason(path: Path, name: str) -> None:
    """What Python cannot do is said, not silently weakened or strengthened."""
    message = refuse(path, f"{TLS_SECTION}  client_auth_type: {name}\n")
    assert "without verifying them, which Python cannot do" in message


def test_a_file_that_cannot_be_read_is_told(path: Path, tmp_path: Path) -> None:
    """A missing, special or endless file ends with a sentence, and never hangs."""
    assert "No such file" in refuse(path)
    os.mkfifo(path)
    assert "not a regular file" in refuse(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))
        assert "cannot be read" in refuse(path)
    path.unlink()
    assert "larger than 1024 KiB" in refuse(path, "#" * (1024 * 1024 + 1))
    assert refuse(path, b"# a\n# \xff\n").startswith(f"{path}:2: this is not UTF-8")


def test_a_directory_in_its_place_costs_no_descriptor(tmp_path: Path) -> None:
    """It is tried again each second: a container engine makes one for a file that is missing."""
    before = os.listdir("/dev/fd")
    assert "directory" in refuse(tmp_path)
    assert len(os.listdir("/dev/fd")) == len(before)


@needs_root
def test_a_file_of_another_user_is_told(path: Path) -> None:
    """An exporter that may not read its rules does not start without them."""
    path.write_text("{}")
    path.chmod(0o600)
    path.parent.chmod(0o700)
    code = f"""
try:
    load(Path({str(path)!r}))
except ExporterError as error:
    print(error.exit_code, error.message)
"""
    imports = "from pathlib import Path\nfrom metrics_commands.errors import ExporterError\n"
    imports += (
        "from metrics_commands.server.web_configuration import load\nimport yaml, encodings\n"
    )
    said = run_python(code, before=imports + BECOME_NOBODY)
    assert said == f"2 The web configuration file {path} cannot be read: Permission denied."


def advise(path: Path, content: str) -> str:
    """Return the next step that a refused file comes with."""
    path.write_text(content)
    with pytest.raises(ExporterError) as caught:
        load(path)
    return caught.value.hint


def test_the_next_step_is_told(path: Path) -> None:
    """A hash, a key and YAML are things that one has to know how to write."""
    assert advise(path, "basic_auth_users: {prom: x}").endswith("htpasswd -nBC 10 prom")
    assert advise(path, "basic_auth_users: {'a $(b)': x}").endswith("htpasswd -nBC 10 USER")
    assert advise(path, "a: [b").startswith("Indent with spaces")
    lacks = advise(path, "tls_server_config: {cert_file: c}")
    assert lacks.startswith("Add key_file with")
    assert str(path.parent) in lacks


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def _either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read YAML with libyaml, and without it."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, request.param), raising=False)


@pytest.mark.usefixtures("_either_parser")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: {b: c", "expected ',' or '}'"),
        ("a: [b", "expected ',' or ']'"),
        ("- a\nb: c", "expected "),
        ("a:\n\tb: c", "found character"),
        ("a: 'b' c", "expected "),
    ],
)
def test_why_it_is_not_yaml_is_told(path: Path, text: str, reason: str) -> None:
    """Either parser's reason is there where it names no more than signs and kinds of tokens."""
    message = refuse(path, text)
    assert "this is not YAML (" in message
    assert reason in message


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "---\n", "~"])
def test_an_empty_file_has_no_rules(path: Path, text: str) -> None:
    """An empty file is valid, and says so."""
    path.write_text(text)
    assert load(path) == WebConfiguration(is_blank=True)


@pytest.mark.parametrize(
    ("keys", "enabled"),
    [
        ("{}", False),
        ("{min_version: TLS12}", False),
        ("{prefer_server_cipher_suites: false, curve_preferences: [CurveP256]}", False),
        (f"{{{PAIR}}}", True),
        ("{cert: c, key: k}", True),
        ("{cert: c, key_file: k}", True),
    ],
)
def test_tls_is_on_as_upstream_has_it(path: Path, keys: str, enabled: bool) -> None:
    """Preferences alone switch nothing on."""
    path.write_text(f"tls_server_config: {keys}")
    assert (load(path).tls is not None) == enabled


def test_everything_is_read(path: Path, tmp_path: Path) -> None:
    """A file that uses each key means what it means upstream."""
    path.write_text(
        f"""
tls_server_config:
  cert_file: server.pem
  key_file: /etc/key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: below/ca.pem
  client_allowed_sans: [a.example, 10.0.0.1]
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]
  prefer_server_cipher_suites: no
  curve_preferences: [CurveP384]
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
    X-XSS-Protection: 0
    Strict-Transport-Security: max-age=1
basic_auth_users:
  alice: &hash {HASH}
  1: *hash
rate_limit:
  interval: 1s
  burst: 20
"""
    )
    found = load(path)
    assert found.tls == TLS(
        certificate=Pem("tls_server_config.cert_file", tmp_path / "server.pem"),
        key=Pem("tls_server_config.key_file", Path("/etc/key")),
        client_auth=ssl.CERT_REQUIRED,
        client_ca=Pem("tls_server_config.client_ca_file", tmp_path / "below" / "ca.pem"),
        allowed_sans=("a.example", "10.0.0.1"),
        maximum=ssl.TLSVersion.TLSv1_2,
        ciphers=("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA"),
        prefer_server_ciphers=False,
        curve="secp384r1",
    )
    assert found.headers == {
        "X-Frame-Options": "deny",
        "X-XSS-Protection": "0",
        "Strict-Transport-Security": "max-age=1",
    }
    assert found.users == {"alice": HASH, "1": HASH}
    assert found.rate == Rate(1.0, 20)
    assert found.files == (tmp_path / "server.pem", Path("/etc/key"), tmp_path / "below" / "ca.pem")


@pytest.mark.parametrize("name", sorted(CIPHERS))
def test_every_cipher_suite_of_go_is_known(path: Path, name: str) -> None:
    """A list that upstream accepts means the same suites here."""
    path.write_text(f"{TLS_SECTION}  cipher_suites: [{name}]\n")
    tls = load(path).tls
    assert tls
    assert tls.ciphers == (CIPHERS[name],)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("0s", 0), ("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400),
        (".5s", 0.5), ("250us", 0.00025), ("250µs", 0.00025), ("8ns", 8e-9),
    ],
)  # fmt: skip
def test_intervals_are_go_durations(path: Path, text: str, seconds: float) -> None:
    """A rate limit has the length that Go would read."""
    path.write_text(f"rate_limit: {{interval: {text}}}")
    assert load(path).rate.interval == pytest.approx(seconds)


@pytest.mark.parametrize("missing", ["yaml", "bcrypt"])
def test_without_the_extra_its_name_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The line to run is there where PyYAML or bcrypt is not installed."""
    path.write_text(f"basic_auth_users: {{a: {HASH}}}")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ExporterError) as caught:
        load(path)
    assert (caught.value.exit_code, "not installed" in caught.value.message) == (2, True)
    assert 'pip install "django-runmetrics[secure]"' in caught.value.hint


def test_a_bcrypt_that_is_broken_is_told_before_anybody_is_let_in(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of another platform is installed, and cannot be imported."""
    (tmp_path / "bcrypt.py").write_text("raise ImportError('wrong ELF class')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bcrypt", raising=False)
    assert "broken: wrong ELF class" in refuse(path, f"basic_auth_users: {{a: {HASH}}}")


def test_aliases_cost_no_more_than_their_text(path: Path) -> None:
    """A file of a few lines cannot fill the memory."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 15)]
    assert refuse(path, "\n".join(lines)).startswith(f"{path}:1: a0 is not known")
    lines = [f"  - &b{n} [{', '.join([f'*b{n - 1}'] * 10 if n else 'x')}]" for n in range(15)]
    text = f"{TLS_SECTION}  client_allowed_sans:\n" + "\n".join(lines)
    assert "client_allowed_sans[0] must be a text" in refuse(path, text)


@pytest.mark.usefixtures("_either_parser")
@pytest.mark.parametrize(
    "text",
    [
        f"basic_auth_users: {{a: {HASH}}}\nrate_limit: [{SECRET}]",
        f"basic_auth_users: {{a: {SECRET}}}",
        f"basic_auth_users: {{a: *{SECRET}}}",
        f"basic_auth_users: {{a: !{SECRET}! x}}",
        f"basic_auth_users:\n  a: {HASH}\n  {HASH}: a",
        f"{HASH}: a",
        f"tls_server_config:\n  cert: c\n  key: [{SECRET}]",
        f"tls_server_config:\n  cert: c\n  key: |\n   {SECRET}\n  {SECRET}",
        f"tls_server_config:\n  cert: c\n  key_file: |\n   -----BEGIN KEY-----\n   {SECRET}",
        f"tls_server_config:\n  cert: c\n  key: {SECRET}\n  min_version: {SECRET}",
        f"a: &{SECRET} x\nb: &{SECRET} y\nc: [",
        f"%TAG !{SECRET} x\n---\na: [",
        f"%{SECRET} x\n---\na: [",
        f"a: !<{SECRET} [",
        f"a: <{SECRET}>: [",
        f'a: "\\{SECRET}"',
        f"a: >{SECRET}\n x",
        f"a: '<{SECRET}>' <{SECRET}>",
    ],
)
def test_no_error_shows_a_secret(path: Path, text: str) -> None:
    """A log full of errors can be given away."""
    path.write_text(text)
    with pytest.raises(ExporterError) as caught:
        load(path)
    assert SECRET not in str(caught.value)
    assert HASH not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_nothing_that_is_shown_has_a_secret(path: Path) -> None:
    """Also a debugger's or a traceback's look at the configuration discloses none."""
    path.write_text(
        f"tls_server_config: {{cert: c, key: {SECRET}}}\nbasic_auth_users: {{a: {HASH}}}"
    )
    found = load(path)
    assert found.has_secrets
    assert SECRET not in repr(found)
    assert HASH not in repr(found)


@pytest.mark.parametrize(
    ("text", "exposed"),
    [
        (f"basic_auth_users: {{a: {HASH}}}", ["web.yml"]),
        ("tls_server_config: {cert_file: c, key: k}", ["web.yml"]),
        ("tls_server_config: {cert_file: key, key_file: key}", ["key"]),
        ("rate_limit: {burst: 1}", []),
    ],
)
def test_files_with_secrets_are_for_their_owner(path: Path, text: str, exposed: list[str]) -> None:
    """A file without a secret may be read by all, a group may read every one."""
    path.write_text(text)
    key = path.parent / "key"
    key.write_text("")
    for mode, expected in ((0o644, exposed), (0o640, [])):
        path.chmod(mode)
        key.chmod(mode)
        assert [each.name for each in find_exposed(path, load(path))] == expected


names = st.sampled_from(
    [
        "tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "cert",
        "key", "cert_file", "key_file", "client_auth_type", "client_ca", "client_allowed_sans",
        "min_version", "cipher_suites", "curve_preferences", "headers", "http2", "interval",
        "burst", "X-Frame-Options", "prefer_server_cipher_suites", SECRET * 3, HASH, 1, None, True,
    ]
)  # fmt: skip
scalars = st.sampled_from([SECRET, HASH, "TLS12", "X25519", "1s", "", 1, -1, 1.5, None, True, "a"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4)
)
documents = st.dictionaries(names, values, max_size=4).map(yaml.safe_dump)
pieces = st.sampled_from(
    ["\n", "  ", "\t", ": ", "- ", "&a ", "*a", "!!", "!x ", "|", ">", "'", '"', "{", "}", "[", "]",
     "?", "%", "---", "\x00", "\ufeff", "\\", "#", SECRET, HASH, "rate_limit", "basic_auth_users"]
)  # fmt: skip
texts = st.lists(pieces, max_size=30).map("".join) | st.text(max_size=60)


@given(st.one_of(documents, texts).map(str.encode) | st.binary(max_size=60))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_is_written_there_only_its_error_comes_out(path: Path, content: bytes) -> None:
    """No file makes a traceback, and none an error that tells a secret or takes two lines."""
    path.write_bytes(content)
    said = ""
    try:
        load(path)
    except ExporterError as error:
        said = str(error)
        told = (error.exit_code, str(path) in error.message, error.message.count("\n"))
        assert told == (2, True, 0)
    assert SECRET not in said
    assert HASH not in said
