"""Parsers accept what people write, and refuse the rest with a ValueError that helps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Counter, Histogram

from metrics_commands import parsers
from metrics_commands.status.page import TYPES

PARSERS: list[Callable[[object], object]] = [
    parsers.parse_address,
    parsers.parse_port,
    parsers.parse_port_range,
    parsers.parse_wait,
    parsers.parse_directory,
    parsers.parse_telemetry_path,
    parsers.parse_names,
    parsers.parse_log_format,
    parsers.parse_namespace,
    parsers.parse_buckets,
    parsers.parse_sd_file,
    parsers.parse_advertise,
]
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.binary(max_size=5),
    st.from_regex(r"[0-9:.\[\]%/ -]{0,12}", fullmatch=True),
)
ANYTHING = st.one_of(PLAIN, st.lists(PLAIN, max_size=5), st.dictionaries(st.text(), PLAIN))
FEW = settings(max_examples=60, deadline=None)


class Unprintable:
    """A value whose repr() fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("parse", "written", "meant"),
    [
        (parsers.parse_address, "", ""),
        (parsers.parse_address, " 10.0.0.1 ", "10.0.0.1"),
        (parsers.parse_address, "[::1]", "::1"),
        (parsers.parse_address, "fe80::1%eth0", "fe80::1%eth0"),
        (parsers.parse_address, "metrics.example.org", "metrics.example.org"),
        (parsers.parse_port, " 8001 ", 8001),
        (parsers.parse_port, 0, 0),
        (parsers.parse_port, 65535, 65535),
        (parsers.parse_port_range, "8001-8003", (8001, 8002, 8003)),
        (parsers.parse_port_range, " 8001 - 8001 ", (8001,)),
        (parsers.parse_port_range, range(8001, 8003), (8001, 8002)),
        (parsers.parse_port_range, range(8005, 8001, -2), (8005, 8003)),
        (parsers.parse_port_range, [9000, 8001, 9000], (9000, 8001)),
        (parsers.parse_port_range, deque([8001]), (8001,)),
        (parsers.parse_wait, "2.5", 2.5),
        (parsers.parse_wait, "Forever", math.inf),
        (parsers.parse_directory, "/var/metrics/", Path("/var/metrics")),
        (parsers.parse_directory, Path("/var/../srv"), Path("/srv")),
        (parsers.parse_telemetry_path, "/metrics/", "/metrics/"),
        (parsers.parse_telemetry_path, "/.well-known/metrics", "/.well-known/metrics"),
        (parsers.parse_names, " gc, system,,gc", ("gc", "system")),
        (parsers.parse_names, ["gc", ""], ("gc",)),
        (parsers.parse_log_format, "json", "json"),
        (parsers.parse_namespace, "", ""),
        (parsers.parse_buckets, [0.1, 1], (0.1, 1.0, math.inf)),
        (parsers.parse_buckets, (1, math.inf), (1.0, math.inf)),
        (parsers.parse_sd_file, "/srv/targets/shop.json", Path("/srv/targets/shop.json")),
        (parsers.parse_sd_file, Path("/srv/shop.prod.json"), Path("/srv/shop.prod.json")),
        (parsers.parse_advertise, " metrics.example.org ", ("metrics.example.org", None)),
        (parsers.parse_advertise, "metrics.example.org:443", ("metrics.example.org", 443)),
        (parsers.parse_advertise, "192.0.2.7", ("192.0.2.7", None)),
        (parsers.parse_advertise, "192.0.2.7:1", ("192.0.2.7", 1)),
        (parsers.parse_advertise, "[2001:db8::7]", ("2001:db8::7", None)),
        (parsers.parse_advertise, "[2001:db8::7]:65535", ("2001:db8::7", 65535)),
        (parsers.parse_advertise, "2001:db8::7", ("2001:db8::7", None)),
        (parsers.parse_advertise, "2001:db8::7:443", ("2001:db8::7:443", None)),
        (parsers.parse_advertise, "localhost:8001", ("localhost", 8001)),
    ],
)
def test_what_people_write_is_understood(
    parse: Callable[[object], object], written: object, meant: object
) -> None:
    """A value is read as its author meant it."""
    assert parse(written) == meant


@pytest.mark.parametrize(
    ("parse", "wrong"),
    [
        (
            parsers.parse_address,
            [" ", "[", "]", "[]", "1.2.3", "a b", "host:80", "::1%\0", "::1%a b", "[1.2.3.4]", 5],
        ),
        (parsers.parse_port, ["80a", "-1", -1, 70000, "٨٠", "8001.0", 8001.0, True, None, ""]),
        (
            parsers.parse_port_range,
            ["8001", "0-3", "8001-70000", "1-99999999999", "", "8050-8001", [], range(5, 1),
             ["8001"], [True], [0], {8001}, b"ab", range(1, 10**30), 8001, "1-2-3"],
        ),
        (parsers.parse_wait, [-1, "soon", "", math.nan, math.inf, "inf", True, 10**400, None]),
        (parsers.parse_directory, ["", "  ", "a\0b", b"/tmp", 5, None, ["/tmp"]]),
        (
            parsers.parse_telemetry_path,
            ["metrics", "", "/", "//evil.example", "/a//b", "/-/healthy", "/a/../b", "/./a",
             "/metrics\n", "/a b", "/ä", "/" + "a" * 500, None,
             "/status.json", *(f"/{name}" for name in TYPES)],
        ),
        (parsers.parse_names, [["gc", 1], 5, None, {"gc": True}, b"gc"]),
        (parsers.parse_log_format, ["xml", "JSON", "", None, [], 1]),
        (parsers.parse_namespace, ["1st", "a-b", "a ", "a\n", "ä", None, 5]),
        (
            parsers.parse_buckets,
            [[], "0.1,1", [1, 1], [2, 1], [math.nan], [1, math.nan], [math.inf], [-1, 1],
             [True], ["1"], [10**400], range(10**30), 5, None],
        ),
        (
            parsers.parse_sd_file,
            ["/srv/shop.yml", "/srv/shop.yaml", "/srv/shop.JSON", "/srv/shop", "/srv/shop.json/",
             "shop.json", "./shop.json", "~/shop.json", "", " ", "/srv/a\0.json", "/srv/a\n.json",
             "/srv/\ud800.json", b"/srv/shop.json", 5, None, ["/srv/shop.json"]],
        ),
        (
            parsers.parse_advertise,
            ["", " ", ":443", "http://shop", "https://shop:443", "shop/metrics", "shop:443/metrics",
             "0.0.0.0", "0.0.0.0:443", "::", "[::]", "[::]:443", "0::0", "::ffff:0.0.0.0", "*",
             "*:443", "shop:0", "shop:65536", "shop:", "shop:-1", "shop:http", "shop:443:443",
             "shop :443", "shop: 443", "[shop]:443", "[192.0.2.7]:443", "[]:443", "[::1", "::1]",
             "[::1]443", "[::1]:0", "fe80::1%eth0", "224.0.0.1", "192.0.2", "a,b", "shop:٤٤٣",
             "user@shop", b"shop", 443, None, ("shop", 443)],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(parse: Callable[[object], object], wrong: list[object]) -> None:
    """A wrong value is never taken for another one."""
    for value in wrong:
        with pytest.raises(ValueError, match=r"\w"):
            assert parse(value) is None, f"{value!r} was accepted"


@pytest.mark.parametrize("written", ["9-1", [], range(9, 1)])
def test_a_range_without_ports_is_told_apart(written: object) -> None:
    """Whoever swaps the ends of a range reads that it is reversed or empty."""
    with pytest.raises(ValueError, match=r"reversed|empty"):
        parsers.parse_port_range(written)


@pytest.mark.parametrize("parse", PARSERS)
@given(value=ANYTHING)
@FEW
def test_parsers_only_ever_raise_value_errors(
    parse: Callable[[object], object], value: object
) -> None:
    """Whatever is written is accepted or refused in one line; nothing else happens."""
    message = "accepted"
    try:
        parse(value)
    except ValueError as error:
        message = str(error)
    assert message.isprintable()


@given(first=st.integers(1, 65535), length=st.integers(0, 60))
@FEW
def test_the_spellings_of_a_range_agree(first: int, length: int) -> None:
    """Text with both ends, range() without the last and a list mean the same ports."""
    last = min(first + length, 65535)
    ports = range(first, last + 1)
    spelled = parsers.parse_port_range(f"{first}-{last}")
    assert spelled == parsers.parse_port_range(ports) == parsers.parse_port_range(list(ports))
    assert spelled == tuple(ports)


@given(value=st.from_regex(r"[0-9a-f:.\[\]%a-z \n-]{0,15}", fullmatch=True))
@FEW
def test_only_an_empty_address_opens_all_of_them(value: str) -> None:
    """Nobody listens on all addresses by a slip, and an accepted address stays as it is."""
    try:
        address = parsers.parse_address(value)
    except ValueError:
        return
    assert (address == "") == (value == "")
    assert parsers.parse_address(address) == address
    assert address.isprintable()


@given(
    host=st.one_of(st.ip_addresses().map(str), st.from_regex(parsers.HOST_NAME, fullmatch=True)),
    port=st.one_of(st.none(), st.integers(1, 65535)),
)
@FEW
def test_an_accepted_target_names_one_host_and_its_port(host: str, port: int | None) -> None:
    """What Prometheus is told to scrape is what was written, host and port never mixed up."""
    bracketed = f"[{host}]" if ":" in host else host
    try:
        parsed = parsers.parse_advertise(bracketed if port is None else f"{bracketed}:{port}")
    except ValueError:
        with pytest.raises(ValueError, match=r"Prometheus reaches"):
            parsers.parse_advertise(host)
        return
    assert parsed == (parsers.parse_address(host), port)


@given(value=st.lists(st.floats(), max_size=4))
@FEW
def test_accepted_buckets_make_a_histogram(value: list[float]) -> None:
    """Buckets that are accepted never fail later, in the first request of a worker."""
    try:
        buckets = parsers.parse_buckets(value)
    except ValueError:
        return
    Histogram("waited", "Time.", buckets=buckets, registry=None).observe(1)


@given(value=st.text("abz019_-ä ", max_size=6))
@FEW
def test_an_accepted_namespace_makes_metric_names(value: str) -> None:
    """A prefix that is accepted never fails later, where the metrics are made."""
    try:
        namespace = parsers.parse_namespace(value)
    except ValueError:
        return
    Counter("made", "Things.", namespace=namespace, registry=None).inc()


@pytest.mark.parametrize(
    "value", ["x" * 10_000, "\x1b[2J\n", "\ud800", 10**5000, [10**5000], Unprintable()], ids=type
)
def test_a_wrong_value_is_shown_in_bounds(value: object) -> None:
    """A value of any size or content fits into one harmless line of an error."""
    shown = parsers.shorten(value)
    assert 0 < len(shown) <= parsers.LONGEST_SHOWN
    assert shown.isprintable()
