"""Whatever is asked for, and whatever is sent in its place, something sensible is answered."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.answers import ask, exchange, read_answers
from tests.fuzz.strategies import JUNK, TOKEN, mostly

METHODS = ("GET", "HEAD", "POST", "OPTIONS", "CONNECT", "TRACE", "PRI", "get", "GET\0", "")
TARGETS = (
    "/metrics", "/", "/-/ready", "/favicon.ico", "*", "//", "/../metrics", "/metrics/", "/%00",
    "/metrics?x=%", "/metrics?collect[]=\xff", "/metrics#x", "http://evil.example/metrics", "?",
    "http://[", "evil.example:80", "/" + "x" * 40_000, "",
)  # fmt: skip
VERSIONS = (
    "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.", "HTTP/1.10", "http/1.1", "HTTP", "",
)  # fmt: skip
REQUEST_LINE = st.builds(
    lambda separator, end, *parts: (separator.join(parts) + end).encode("latin-1"),
    st.sampled_from((" ", " ", " ", "  ", "\t")),
    st.sampled_from(("\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n ")),
    mostly(METHODS, TOKEN),
    mostly(TARGETS),
    mostly(VERSIONS),
)
FRAGMENTS = (
    b"GET ", b"POST ", b"/metrics", b"/", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", b"\n\n",
    b"Host: a", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"\0",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00",
)  # fmt: skip
KEYS = (
    "name[]", "collect[]", "exclude[]", "name%5B%5D", "collect%5b%5d", "name", "collect", "", "[]",
)  # fmt: skip
ARGUMENTS = (
    "process_cpu_seconds_total", "django_http_requests_in_flight", "value_files", "process", "gc",
    "platform", "http", "nothing", "", "%", "%zz", "%00", "%ff", "+", "a=b", "%0d%0aX-A:%20b",
)  # fmt: skip
QUERY = st.builds(
    lambda pairs, separator, times: separator.join(
        [f"{key}{equals}{value}" for key, equals, value in pairs] * times
    ),
    st.lists(
        st.tuples(
            mostly(KEYS, JUNK.map(quote)),
            st.sampled_from(("=", "=", "=", "==", "")),
            mostly(ARGUMENTS, st.text().map(quote)),
        ),
        max_size=4,
    ),
    st.sampled_from(("&", "&", "&", "&&", ";")),
    st.sampled_from((1, 1, 1, 1, 1, 1, 10, 100, 10_000)),
)
SENSIBLE = {
    ("GET", "/metrics"): 200,
    ("HEAD", "/metrics"): 200,
    ("GET", "/metrics?name[]=process_cpu_seconds_total"): 200,
    ("GET", "/metrics?collect[]=nothing"): 400,
    ("GET", "/metrics?collect[]=gc&exclude[]=gc"): 400,
    ("POST", "/metrics"): 405,
    ("GET", "/-/healthy"): 200,
    ("HEAD", "/-/ready"): 200,
    ("GET", "/nowhere"): 404,
}
MOST_REQUEST_BYTES = 32 * 1024


@settings.get_profile("fuzz")
@given(query=QUERY)
def test_any_query_string_is_answered_or_refused(port: int, query: str) -> None:
    """Filters that make no sense are the client's mistake; what is too long is not even read."""
    target = f"/metrics?{query}".encode()
    if len(target) < MOST_REQUEST_BYTES - 1000:
        assert ask(port, target=target).status in (200, 400)
    else:
        received = exchange(port, b"GET %s HTTP/1.1\r\n\r\n" % target, complete=False)
        assert all(400 <= each.status < 500 for each in read_answers(received))


@settings.get_profile("fuzz")
@given(line=REQUEST_LINE)
def test_any_request_line_is_answered_or_its_connection_closed(port: int, line: bytes) -> None:
    """What is no request ends its own connection, and nothing else."""
    request = line + b"Host: localhost\r\nConnection: close\r\n\r\n"
    methods = ("HEAD" if line.startswith(b"HEAD") else "GET", "GET")
    for answer in read_answers(exchange(port, request, complete=False), methods):
        assert answer.status < 500 or answer.status in (501, 505)


@settings.get_profile("fuzz")
@given(parts=st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=200), max_size=30))
def test_any_bytes_are_answered_or_their_connection_closed(port: int, parts: list[bytes]) -> None:
    """Pieces of requests in any order, and anything else, do no harm."""
    received = exchange(port, b"".join(parts), complete=False)
    for answer in read_answers(received, ("GET",) * 99):
        assert answer.status < 500


@settings.get_profile("fuzz")
@given(requests=st.lists(st.sampled_from(sorted(SENSIBLE)), min_size=1, max_size=20))
def test_requests_sent_at_once_are_answered_in_order(
    port: int, requests: list[tuple[str, str]]
) -> None:
    """On one connection each request has its own answer, whatever came before it."""
    lines = [f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n" for method, target in requests]
    everything = "\r\n".join(lines) + "Connection: close\r\n\r\n"
    answers = read_answers(
        exchange(port, everything.encode()), tuple(method for method, _ in requests)
    )
    assert [each.status for each in answers] == [SENSIBLE[each] for each in requests]
