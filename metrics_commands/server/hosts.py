"""Answer under our own names only: a stranger's name that leads here is DNS rebinding."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

HEADER = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(:\d{0,5})?", re.ASCII | re.IGNORECASE)


class Hosts:
    """The names that a Host header may have, with any port: addresses, localhost, and those given.

    A name stands for itself, not for those below it; one that is not ASCII is given in Punycode.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {normalise(each) for each in ("localhost", *names)} - {""}

    def allows(self, host_header: str | None) -> bool:
        """Tell whether to answer; without the header yes, since every browser sends it."""
        if host_header is None:
            return True
        found = HEADER.fullmatch(host_header)
        if found is None:
            return False
        host = found[1]
        if host.startswith("["):
            return is_address(host[1:-1], ipaddress.IPv6Address)
        return normalise(host) in self._names or is_address(host, ipaddress.IPv4Address)


def normalise(name: str) -> str:
    """Return a name as it is compared: in lower case, without the dot of the root."""
    return name.lower().removesuffix(".")


def is_address(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    """Tell whether a text is a literal address of this kind."""
    try:
        kind(text)
    except ValueError:
        return False
    return True
