"""What a user may write as address, and what it means."""

from __future__ import annotations

import socket

import psutil
import pytest

from metrics_commands.errors import ExporterError
from metrics_commands.ports.address import join, resolve
from metrics_commands.ports.probe import claim

from .sockets import needs_ipv6


@pytest.mark.parametrize(
    ("written", "hosts", "wildcard"),
    [
        ("127.0.0.1", ["127.0.0.1"], False),
        ("0.0.0.0", ["0.0.0.0"], True),
        pytest.param("::1", ["::1"], False, marks=needs_ipv6),
        pytest.param("0:0:0:0:0:0:0:0", ["::"], True, marks=needs_ipv6),
        ("", ["0.0.0.0", "::"], True),
    ],
)
def test_an_address_means_itself_and_nothing_means_all(
    written: str, hosts: list[str], wildcard: bool
) -> None:
    """A user reads back the addresses that were written, IPv4 first."""
    addresses = resolve(written)
    assert [str(each) for each in addresses] == hosts
    assert [each.is_wildcard for each in addresses] == [wildcard] * len(hosts)


def test_only_all_addresses_do_with_one_family() -> None:
    """An address that was named must be had; of all addresses, a family may be missing."""
    assert [each.required for each in resolve("")] == [False, False]
    assert all(each.required for each in resolve("127.0.0.1") + resolve("localhost"))


def test_a_name_means_every_address_it_has_once() -> None:
    """The name localhost serves at least on the IPv4 loopback address, which comes first."""
    hosts = [str(each) for each in resolve("localhost")]
    assert hosts[0] == "127.0.0.1"
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize(
    "written", ["name.invalid", "127.0.0.1:8001", "[::1]", "a..b", "x" * 300, " ", "\udc80"]
)
def test_what_does_not_resolve_is_one_sentence_with_a_way_out(written: str) -> None:
    """A wrong name gives a message with the name and a hint, never a traceback."""
    with pytest.raises(ExporterError) as caught:
        resolve(written)
    assert written in caught.value.message
    assert "\n" not in caught.value.message
    assert "--address" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_link_local_address_keeps_its_interface() -> None:
    """An fe80:: address with its interface can be served."""
    found = [
        each.address if "%" in each.address else f"{each.address}%{name}"
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if each.family == socket.AF_INET6 and each.address.startswith("fe80:")
    ]
    if not found:
        pytest.skip("this machine has no link-local address")
    claimed = claim(resolve(found[0]), [0])
    for each in claimed.sockets:
        with each:
            assert each.getsockname()[3] == socket.if_nametoindex(found[0].partition("%")[2])


@pytest.mark.parametrize(
    ("host", "joined"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("web", "web:80")]
)
def test_host_and_port_are_written_as_in_a_url(host: str, joined: str) -> None:
    """An IPv6 address stands in brackets, so that the line can be pasted into a URL."""
    assert join(host, 80) == joined
