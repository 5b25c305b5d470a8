"""Under which names the server answers."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.server.hosts import Hosts

NAMES = ("Metrics.Example", "db_1.internal.", "kiosk", "", ".")
HOSTS = Hosts(NAMES)


@pytest.mark.parametrize("port", ["", ":", ":80", ":9100", ":65535"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.1.2.3", "255.255.255.255", "[::1]", "[2001:DB8::1]", "[::ffff:10.0.0.1]",
        "localhost", "LocalHost", "localhost.", "metrics.example", "METRICS.example.",
        "db_1.internal", "kiosk",
    ],
)  # fmt: skip
def test_addresses_localhost_and_our_names_are_answered_on_any_port(host: str, port: str) -> None:
    """Prometheus scrapes by address or by a configured name, also through a forwarded port."""
    assert HOSTS.allows(f"{host}{port}")


def test_a_client_without_the_header_is_answered() -> None:
    """A health check in HTTP/1.0 works; no browser leaves the header out."""
    assert HOSTS.allows(None)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "metrics.example.evil",
        "x.metrics.example", "evilmetrics.example", "metrics-example", "foo.localhost", "example",
        "0x7f.1", "0x7f000001", "2130706433", "127.1", "127.0.0.01", "127.0.0.256", "127.0.0.1.",
        "[::1].evil", "[::1]evil", "[::1", "::1", "[::1]]", "[]", "[:::1]", "[127.0.0.1]",
        "[localhost]", "[fe80::1%25eth0]", "a@localhost", "localhost@evil", "a:b@localhost",
        "", ".", "..", ":", ":80", " ", "*", "-", "localhost..", ".localhost", "localhost:80:80",
        "localhost:x", "localhost:-1", "localhost:999999", "localhost:８0", "localhost,evil",
        "localhost, localhost", "localhost evil", "localhost\n", "localhost\r\nX: y", " localhost",
        "localhost\0", "localhost/", "localhost#", "localhost?", "http://localhost", "%6cocalhost",
        "localho\u017ft", "\u212aiosk", "１２７.0.0.1", "localhost。", "\udc80",
    ],
)  # fmt: skip
def test_every_other_name_is_refused(header: str) -> None:
    """A page in a browser that has a name of its own lead here reads nothing."""
    assert not HOSTS.allows(header)


def test_without_names_only_addresses_and_localhost_are_answered() -> None:
    """An empty configuration opens nothing."""
    assert [Hosts([]).allows(each) for each in ("10.0.0.1", "localhost", "kiosk", "")] == [
        True, True, False, False,
    ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.ip_addresses(), st.none() | st.integers(0, 65535))
def test_every_address_is_answered(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int | None
) -> None:
    """Whatever address a machine has, it can be scraped by it."""
    host = str(address) if address.version == 4 else f"[{address}]"
    assert HOSTS.allows(host if port is None else f"{host}:{port}")


@settings(max_examples=150, deadline=None)
@given(
    st.text("0127abefx.:[]@-_%, \t", max_size=12)
    | st.builds(
        lambda before, name, after: before + name + after,
        st.text("a0.:[@", max_size=3),
        st.sampled_from(["localhost", "kiosk", "127.0.0.1", "[::1]"]),
        st.text("a0.:]@,", max_size=4),
    )
    | st.text()
)
def test_what_is_answered_is_an_address_or_one_of_our_names(header: str) -> None:
    """Nothing that a URL's parser takes for another host is let through."""
    if HOSTS.allows(header):
        host = urlsplit(f"//{header}").hostname
        assert host is not None
        if host.removesuffix(".") not in {
            "localhost", "metrics.example", "db_1.internal", "kiosk",
        }:  # fmt: skip
            ipaddress.ip_address(host)
