"""Compare what exporters and their neighbours want, before anything is started."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ..finding import Change, Finding, Place, make_id
from .address import join
from .neighbours.neighbour import HOST_NETWORK, Neighbour
from .numbers import choose_number, list_ports

EVERYWHERE = ("", "*", "0.0.0.0", "::", "[::]")
LOCALHOST = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Wish:
    """What one exporter will want: addresses as written, and the ports in the order of trying.

    ``place`` and ``text`` are the line that decides the port; ``port_option`` is what to add to
    it where it names none.
    """

    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    place: Place
    text: str
    network: str = HOST_NETWORK
    port_option: str = ""

    def rewrite(self, port: int) -> Change:
        """Return the line to write for another port; a range keeps its length."""
        first, last = self.ports[0], self.ports[-1]
        numbers = {first: port}
        if last > first:
            # As '8001-8050' ends with its last port, and range() with the one after it.
            numbers |= {last: port + last - first, last + 1: port + last - first + 1}
        text = replace_ports(self.text, numbers)
        if text == self.text and self.port_option:
            text = f"{self.text} {self.port_option.format(port)}".strip()
        return Change(self.place, text)


def find_clashes(wishes: Iterable[Wish], neighbours: Collection[Neighbour]) -> Iterator[Finding]:
    """Yield a finding for each neighbour that will want a port of an exporter's."""
    wishes = list(wishes)
    wanted = {port for wish in wishes for port in wish.ports} | {each.port for each in neighbours}
    for wish in wishes:
        for neighbour in neighbours:
            if neighbour.network == wish.network and neighbour.port in wish.ports:
                reasons = [explain_clash(each, neighbour.host) for each in wish.addresses]
                why = next(filter(None, reasons), "")
                if why:
                    yield describe_clash(wish, neighbour, why, wanted)


def describe_clash(wish: Wish, neighbour: Neighbour, why: str, wanted: set[int]) -> Finding:
    """Say who wants what, with both places and what to write in either."""
    port = neighbour.port
    theirs = f"{neighbour.what} on {join(neighbour.host or '0.0.0.0', port)} ({neighbour.place})"
    ours = f"the exporter on {join(wish.addresses[0] or '0.0.0.0', port)} ({wish.place})"
    if len(wish.ports) > 1:
        ours = f"the exporter, as one of {list_ports(wish.ports)} ({wish.place})"
        why = f"{why} Whichever starts first takes it."
    changes = [wish.rewrite(choose_number(max(wish.ports), wanted))]
    moved = replace_ports(neighbour.text, {port: choose_number(port, wanted)})
    if neighbour.movable and moved != neighbour.text:
        changes.append(Change(neighbour.place, moved))
    return Finding(
        make_id(17),
        "error",
        f"Port {port} is wanted twice: by {theirs}, and by {ours}.",
        f"{why} Change one of the two." if len(changes) > 1 else why,
        tuple(changes),
    )


def explain_clash(ours: str, theirs: str) -> str:
    """Say why two addresses as written cannot have the same port; '' where they can."""
    if not overlap(spell_out(ours), spell_out(theirs)):
        return ""
    if (ours in EVERYWHERE) == (theirs in EVERYWHERE):
        return "Both ask for the same address."
    specific = theirs if ours in EVERYWHERE else ours
    return (
        f"One asks for {specific}, the other for all addresses. macOS lets both start, and splits"
        " the requests between them; on Linux, and so in every container, the second one fails."
    )


def overlap(mine: Collection[str], other: Collection[str]) -> bool:
    """Tell whether one of the addresses is, or includes, one of the others."""
    for one in mine:
        for two in other:
            if one == two or "::" in (one, two):
                # Where IPV6_V6ONLY is off, as it mostly is, [::] includes all of IPv4.
                return True
            if "0.0.0.0" in (one, two) and ":" not in one + two:
                return True
    return False


def spell_out(host: str) -> set[str]:
    """Return the addresses that a host as written stands for, as far as no lookup is needed."""
    host = host.strip("[]")
    if host in ("", "*"):
        return {"0.0.0.0", "::"}
    if host == "localhost":
        return set(LOCALHOST)
    try:
        return {str(ipaddress.ip_address(host))}
    except ValueError:
        return {host}


def is_loopback(host: str) -> bool:
    """Tell whether only this machine, or this container, reaches an address as written."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def replace_ports(text: str, numbers: dict[int, int]) -> str:
    """Return a line with other ports in the place of some that stand in it."""
    return re.sub(
        r"(?<![\w.])\d{1,5}(?![\w.])",
        lambda found: str(numbers.get(int(found[0]), found[0])),
        text,
    )
