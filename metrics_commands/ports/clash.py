"""Say why a listener is in the way of an address that is not its own."""

from __future__ import annotations

import sys

from .address import Address
from .listeners import MAPPED, Listener

# There a specific address may be bound beside all addresses, and whoever is more specific is asked.
SPLITS = sys.platform == "darwin" or "bsd" in sys.platform
LEFT_ALONE = (
    "this system might let both listen and split the requests between them, so the port is left"
    " alone"
)


def explain_clash(address: Address, listener: Listener, *, splits: bool = SPLITS) -> str:
    """Say why the two cannot have the port both; '' where their addresses are the same."""
    why = _relate(address, listener)
    return f"{why}; {LEFT_ALONE}" if why and splits and not listener.mapped else why


def _relate(address: Address, listener: Listener) -> str:
    among = "" if address.is_wildcard else f", {address} among them"
    if listener.family != address.family:
        return f"it listens on [::], which is all addresses of IPv6 and of IPv4{among}"
    if address.is_wildcard and not listener.is_wildcard:
        return f"all addresses include {listener.host}, where it listens"
    if listener.is_wildcard and among:
        return f"it listens on all addresses{among}"
    if listener.mapped:
        return f"it listens on [{MAPPED}{listener.host}], which is {listener.host} written as IPv6"
    return ""
