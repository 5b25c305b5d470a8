"""Turn what a user wrote as address into socket addresses of one family each."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import ExporterError


@dataclass(frozen=True)
class Address:
    """An address of this machine to listen on; ``required`` is False where it may be missing."""

    family: socket.AddressFamily
    host: str
    scope_id: int = 0
    required: bool = True

    @property
    def is_wildcard(self) -> bool:
        """Tell whether it stands for all addresses of its family."""
        return self.host in ("0.0.0.0", "::")

    @property
    def lacks_interface(self) -> bool:
        """Tell whether it is a link-local address without the interface that it is local to."""
        return self.host.startswith("fe80:") and not self.scope_id

    def with_port(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return what ``socket.bind`` takes."""
        if self.family == socket.AF_INET6:
            return (self.host, port, 0, self.scope_id)
        return (self.host, port)

    def __str__(self) -> str:
        return self.host


def join(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve_all(addresses: Iterable[str]) -> list[Address]:
    """Return what several of a user's addresses mean, each once, in the order they were given.

    One that another covers, as all addresses of its family do, is left out: both could not be
    bound. Raises ExporterError where one does not resolve.
    """
    found: dict[tuple[int, str, int], Address] = {}
    for each in (each for written in addresses for each in resolve(written)):
        key = (each.family, each.host, each.scope_id)
        if key not in found or each.required:
            found[key] = each
    covered = {each.family for each in found.values() if each.is_wildcard}
    return [each for each in found.values() if each.is_wildcard or each.family not in covered]


def resolve(address: str) -> list[Address]:
    """Return the addresses that a user's ``address`` means, IPv4 first.

    '' means all of both families, and a name every address it has; a machine without IPv6 does
    with IPv4. Raises ExporterError for one that does not resolve.
    """
    if not address:
        return [
            Address(socket.AF_INET, "0.0.0.0", required=False),
            Address(socket.AF_INET6, "::", required=False),
        ]
    numeric = _is_numeric(address)
    flags = socket.AI_NUMERICHOST if numeric else 0
    try:
        found = socket.getaddrinfo(
            address, None, type=socket.SOCK_STREAM, flags=flags | socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ExporterError(
            f"The address {address} does not resolve to an address of this machine ({reason}).",
            "Give an IP address with --address, such as 127.0.0.1, or correct the name.",
        ) from None
    addresses = {
        Address(
            family,
            str(where[0]),
            int(where[3]) if len(where) == 4 else 0,
            required=numeric or family == socket.AF_INET,
        )
        for family, _, _, _, where in found
        if family in (socket.AF_INET, socket.AF_INET6)
    }
    return sorted(addresses, key=lambda each: (each.family != socket.AF_INET, each.host))


def _is_numeric(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
