"""Whatever a header says, the page is one that Prometheus can read."""

from __future__ import annotations

import re
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.answers import ask, exchange, read_answers
from tests.fuzz.strategies import ACCEPT, ACCEPT_ENCODING, JUNK, TOKEN, mostly

CONTENT_TYPE = re.compile(
    r"text/plain; version=(0\.0\.4; charset=utf-8|1\.0\.0; charset=utf-8(; escaping=[a-z0-9-]+)?)"
    r"|application/openmetrics-text; version=1\.0\.0; charset=utf-8(; escaping=[a-z0-9-]+)?"
)
NAMES = (
    "Host", "Content-Length", "Transfer-Encoding", "Expect", "Connection", "Upgrade", "Range",
    "Cookie", "Authorization", "If-None-Match", "If-Modified-Since", "X-Forwarded-For",
    "X-Forwarded-Proto", "X-Scheme", "Forwarded", "Content-Type", "Content-Encoding", "TE",
    "Trailer", "Accept", "HTTP2-Settings", "Proxy-Connection",
)  # fmt: skip
VALUES = (
    "", "0", "1", "-1", "+5", "5, 5", "1e3", "0x5", "99999999999999999999", "chunked",
    "gzip, chunked", "identity", "100-continue", "close", "keep-alive", "websocket", "h2c",
    "bytes=0-", "*", '"x"', "127.0.0.1", "https", "a=b; c", "multipart/form-data", "gzip",
    "application/x-www-form-urlencoded", "x" * 40_000,
)  # fmt: skip
HEADER = st.builds(
    lambda name, colon, value, end: (name + colon + value + end).encode("latin-1"),
    mostly(NAMES, TOKEN | JUNK),
    st.sampled_from((": ", ": ", ": ", ":", " : ", ":\t", "")),
    mostly(VALUES),
    st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "\r\n folded\r\n", "\r", "\0\r\n")),
)
BODY = st.sampled_from((b"", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffff\r\n", b"hello"))
HOST = mostly(
    (
        "localhost", "LOCALHOST.:80", "127.0.0.1", "[::1]:8001", "", "evil.example", "localhost:x",
        "127.0.0.1.evil.example", "localhost@evil.example", "evil.example:127.0.0.1", "2130706433",
        "[::1", "[::1]evil.example", "[::1%25lo]", "localhost, evil.example", "0x7f.1", "..", ":",
        "localhost:99999999999999999999", "localhost/", "%6cocalhost", "127.1", "[]",
    )
)  # fmt: skip
OWN_HOST = re.compile(r"(localhost\.?|[0-9.]+|\[[0-9a-f:.]+\])(:[0-9]*)?", re.IGNORECASE)
TIMEOUT = st.one_of(
    st.floats().map(repr),
    mostly(
        ("", "0", "-0", "10", "1e400", "1_0", "0x10", "infinity", "NaN", "5s", "1,5", "9" * 5000)
    ),
)


def encode(name: str, value: str) -> bytes:
    """Return a header line."""
    return f"{name}: {value}".encode("latin-1")


@settings.get_profile("fuzz")
@given(accept=ACCEPT)
def test_any_accept_header_gets_a_format_there_is(port: int, accept: str) -> None:
    """Where nothing that is asked for makes sense, the oldest format is served; never an error."""
    answer = ask(port, encode("Accept", accept))
    assert answer.status == 200
    assert CONTENT_TYPE.fullmatch(answer.headers["content-type"])
    assert answer.body.endswith(b"# EOF\n") == ("openmetrics" in answer.headers["content-type"])
    assert "Accept" in answer.headers["vary"]


@settings.get_profile("fuzz")
@given(codings=ACCEPT_ENCODING)
def test_any_accept_encoding_gets_a_page_it_can_read(port: int, codings: str) -> None:
    """A page is compressed only for who can unpack it, and then it is whole."""
    answer = ask(port, encode("Accept-Encoding", codings))
    assert answer.status == 200
    body = answer.body
    if "content-encoding" in answer.headers:
        assert answer.headers["content-encoding"] == "gzip"
        assert re.search(r"gzip|\*", codings, re.IGNORECASE)
        body = zlib.decompress(body, wbits=31)
    assert body.startswith(b"# HELP ")
    assert body.endswith(b"\n")


@settings.get_profile("fuzz")
@given(timeout=TIMEOUT)
def test_any_scrape_timeout_gets_a_page(port: int, timeout: str) -> None:
    """A timeout that makes no sense is none; one that is too short costs samples, not the page."""
    answer = ask(port, encode("X-Prometheus-Scrape-Timeout-Seconds", timeout))
    assert answer.status == 200
    assert b"\ndjango_exporter_collector_success{" in answer.body


@settings.get_profile("fuzz")
@given(host=HOST, target=st.sampled_from((b"/", b"/-/healthy", b"/-/ready", b"/metrics")))
def test_pages_for_people_answer_to_our_names_only(port: int, host: str, target: bytes) -> None:
    """No spelling of a stranger's name passes for ours; the metrics answer to every name."""
    status = ask(port, encode("Host", host), target=target).status
    if target == b"/metrics":
        assert status in (200, 400)
    elif OWN_HOST.fullmatch(host):
        assert status in (200, 400, 421)
    else:
        assert status in (400, 421)


@settings.get_profile("fuzz")
@given(headers=st.lists(HEADER, max_size=6), body=BODY)
def test_any_headers_are_answered_or_their_connection_closed(
    port: int, headers: list[bytes], body: bytes
) -> None:
    """Neither lengths that lie nor lines that are no headers make the server fail."""
    request = b"GET /metrics HTTP/1.1\r\n" + b"".join(headers) + b"Connection: close\r\n\r\n" + body
    for answer in read_answers(exchange(port, request, complete=False), ("GET",) * 9):
        assert answer.status < 500
