"""What a client accepts is what it gets, and no header whatsoever makes an error."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import exposition as peer
from prometheus_client.openmetrics import exposition as openmetrics_peer

from metrics_commands.exposition.format import (
    ESCAPINGS,
    FORMATS,
    OPENMETRICS,
    PLAIN,
    TEXT,
    Format,
)
from metrics_commands.exposition.negotiation import (
    LONGEST_HEADER,
    choose_encoding,
    choose_format,
)

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;q=0.7"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"

OPEN = Format(OPENMETRICS, "1.0.0")
OPEN_UTF8 = Format(OPENMETRICS, "1.0.0", "allow-utf-8")
PLAIN_1 = Format(PLAIN, "1.0.0")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS, OPEN_UTF8),
        (f"{PROTOBUF},{PROMETHEUS}", OPEN_UTF8),
        (PROMETHEUS_2, OPEN),
        (PROMETHEUS.replace(",", " ,\t, "), OPEN_UTF8),
        (PROMETHEUS.upper(), OPEN_UTF8),
        ("", TEXT),
        ("*/*", TEXT),
        (FIREFOX, TEXT),
        (JAVA, TEXT),
        ("application/json", TEXT),
        ("text/*", TEXT),
        ("text/plain", TEXT),
        ("text/plain;escaping=allow-utf-8", TEXT),
        ("text/plain;version=0.0.4;escaping=dots", TEXT),
        ("text/plain;version=1.0.0;escaping=dots", Format(PLAIN, "1.0.0", "dots")),
        ("text/plain;version=1.0.0;escaping=upside-down", PLAIN_1),
        ("application/*", OPEN),
        ("application/openmetrics-text", OPEN),
        ('application/openmetrics-text; version="1.0.0"; escaping="allow\\-utf-8"', OPEN_UTF8),
        ("application/openmetrics-text;charset=utf-8;;version=1.0.0;", OPEN),
    ],
)
def test_a_client_gets_the_format_that_it_asks_for(accept: str, expected: Format) -> None:
    """Prometheus of any version has its best format, and a person what can be read."""
    assert choose_format(accept) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", TEXT),
        ("text/plain;q=0.2,application/openmetrics-text;q=0.3", OPEN),
        ("text/plain,application/openmetrics-text", TEXT),
        ("application/openmetrics-text,text/plain", OPEN),
        ("*/*,application/openmetrics-text", OPEN),
        ("text/*;q=0.5,application/openmetrics-text;q=0.4", TEXT),
        ("application/openmetrics-text;q=0,*/*", TEXT),
        ("text/plain;version=0.0.4;q=0,*/*", PLAIN_1),
        ("text/plain;q=0,*/*", OPEN),
        ("text/plain;q=0,*/*;q=0", TEXT),
        ("*/*;q=0.9,text/plain;q=0.1", OPEN),
        (f"{OPENMETRICS};q=0.9,{OPENMETRICS};version=1.0.0;q=0.1,text/plain;q=0.5", TEXT),
        ("text/plain;q=0.1,text/plain;q=0.9,application/openmetrics-text;q=0.5", OPEN),
    ],
)
def test_quality_counts_then_naming_then_order(accept: str, expected: Format) -> None:
    """A client that says what it likes better, or not at all, is listened to."""
    assert choose_format(accept) == expected


@pytest.mark.parametrize("version", ["0.0.1", "1.0", "1.0.1", "2.0.0", "9.9.9", "abc", '""'])
def test_a_version_that_we_do_not_speak_is_not_offered(version: str) -> None:
    """Of another OpenMetrics the next thing in the list is taken, and it is never echoed."""
    wanted = f"application/openmetrics-text;version={version}"
    assert choose_format(wanted) == TEXT
    assert choose_format(f"{wanted},text/plain;version=1.0.0;q=0.5") == PLAIN_1


@pytest.mark.parametrize(
    "broken",
    [
        ";q=2", ";q=-1", ";q=0.1234", ";q=abc", ";q=", ";q=1;q=1", ";version=1.0.0;VERSION=1.0.0",
        ';version="1.0.0', ";version", ";=1", "\r\nX: y", " text/plain", ",é/é", "/x", ",text",
        "," + "a" * LONGEST_HEADER,
    ],
)  # fmt: skip
def test_what_breaks_the_grammar_gets_the_oldest_format(broken: str) -> None:
    """A header that cannot be read is as good as none, even where it begins well."""
    assert choose_format("application/openmetrics-text") == OPEN
    assert choose_format(f"application/openmetrics-text{broken}") == TEXT


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate, gzip, br, zstd", "gzip"),
        ("gzip;q=0.5", "gzip"),
        ("gzip;q=0.001, identity;q=0", "gzip"),
        ("identity;q=0.5, gzip", "gzip"),
        ("*", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("", "identity"),
        ("identity", "identity"),
        ("br", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.000, *", "identity"),
        ("*;q=0", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=0.5, *;q=0.8", "identity"),
        ("identity;q=0", "identity"),
        ("gzip;level=1", "identity"),
        ("gzip;q=1.0001", "identity"),
        ("gzip/1", "identity"),
        ("gzip br", "identity"),
        ("gzip" + "," * LONGEST_HEADER, "identity"),
    ],
)
def test_a_page_is_compressed_only_for_who_accepts_it(accepted: str, expected: str) -> None:
    """What cannot be decompressed is not sent, nor what is not wanted."""
    assert choose_encoding(accepted) == expected


def test_content_types_are_those_that_prometheus_knows() -> None:
    """Prometheus 3 refuses a page whose content type it does not know."""
    types = {form.content_type for form in FORMATS}
    assert TEXT.content_type == peer.CONTENT_TYPE_PLAIN_0_0_4
    assert types == {
        peer.CONTENT_TYPE_PLAIN_0_0_4,
        *(f"{peer.CONTENT_TYPE_PLAIN_1_0_0}; escaping={each}" for each in ESCAPINGS),
        *(f"{openmetrics_peer.CONTENT_TYPE_LATEST}; escaping={each}" for each in ESCAPINGS),
    }
    for form in FORMATS:
        asked = re.sub("; *charset=[^;]*", "", form.content_type)
        assert choose_format(asked) == form
        assert peer.choose_encoder(asked)[1] == form.content_type


media = st.sampled_from([PLAIN, OPENMETRICS, "text/*", "application/*", "*/*", "text/html"])
qualities = st.integers(0, 1000).map(lambda each: each / 1000)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(media, qualities), max_size=5, unique_by=lambda each: each[0]))
def test_nothing_better_was_on_offer(ranges: list[tuple[str, float]]) -> None:
    """The most specific range decides on a type, and the type of the highest quality is chosen."""
    liked = dict(ranges)

    def like(media_type: str) -> float:
        family = media_type.partition("/")[0] + "/*"
        return next((liked[each] for each in (media_type, family, "*/*") if each in liked), 0.0)

    chosen = choose_format(", ".join(f"{each};q={quality:.3f}" for each, quality in ranges))
    best = max(like(PLAIN), like(OPENMETRICS))
    assert like(chosen.media_type) == best or (best == 0 and chosen == TEXT)


pieces = st.sampled_from(
    [*"""*/,;="\\ \t\r\n""", "q=", "q=0", "q=0.5", "gzip", "identity", PLAIN, OPENMETRICS, "*/*",
     "version=", "1.0.0", "escaping=", "dots", "é", "\udcff", "\0", ";q=1,"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=50), st.lists(pieces, max_size=30).map("".join)))
def test_no_header_makes_an_error(header: str) -> None:
    """Whatever a client sends, there is an answer, and nothing of the header is in it."""
    assert choose_format(header) in FORMATS
    assert choose_encoding(header) in ("gzip", "identity")


@pytest.mark.parametrize(
    "piece",
    ["*/*,", "a/b,", ";", " ", "\t,", '"', 'a/b;c="\\', "a/b;c=d,", "a", "a/b; ", "q=", ";a=", "/"],
)
def test_the_longest_header_takes_no_time(piece: str) -> None:
    """A client cannot keep the server busy by what it accepts."""
    header = (piece * LONGEST_HEADER)[:LONGEST_HEADER]
    start = time.process_time()
    choose_format(header)
    choose_encoding(header)
    choose_format(f"a/b{header}"[:LONGEST_HEADER])
    assert time.process_time() - start < 0.5
