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

EVERYWHERE = frozenset(("0.0.0.0", "::"))
LOCALHOST = ("127.0.0.1", "::1")
COMMAND = re.compile(r"(?<![\w./-])runmetrics(?![\w./-])")
# Words of a list in YAML or JSON: one in a line of its own, and one among others.
ITEM = re.compile(r"""-\s+(["']?)[^\s"']+\1""")
ELEMENT = re.compile(r"""[\[,]\s*(["']?)runmetrics\1(?=\s*[\],])""")


@dataclass(frozen=True)
class Wish:
    """What one exporter will want: addresses as written, and the ports in the order of trying.

    ``place`` and ``text`` are the line that decides the port; ``port_option`` is what to add to
    it where it names none. ``stop`` is where a range() ends, which is none of the ports.
    """

    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    place: Place
    text: str
    network: str = HOST_NETWORK
    port_option: str = ""
    stop: int = 0

    def move(self, taken: Iterable[int] = ()) -> tuple[Change, ...]:
        """Return the line to write for ports that nothing speaks against, if there is one."""
        lowest, highest = min(self.ports), max(self.ports)
        first = choose_number(highest, {*taken, *self.ports}, highest - lowest + 1)
        text = self.rewrite(first) if first else self.text
        return (Change(self.place, text),) if text != self.text else ()

    def rewrite(self, first: int) -> str:
        """Return the line with other ports from ``first`` on; a range keeps its length."""
        shift = first - min(self.ports)
        numbers = {each: each + shift for each in (*self.ports, self.stop) if each}
        command = COMMAND.search(self.text)
        # What stands before the command may be another one's.
        start = command.end() if command else 0
        text = self.text[:start] + replace_ports(self.text[start:], numbers)
        if text == self.text and self.port_option:
            option = self.port_option.format(first)
            return add_option(text, option) if text else option
        return text


def find_clashes(wishes: Iterable[Wish], neighbours: Collection[Neighbour]) -> Iterator[Finding]:
    """Yield a finding for each neighbour that will want a port of an exporter's."""
    wishes = list(wishes)
    wanted = {port for wish in wishes for port in wish.ports} | {each.port for each in neighbours}
    for wish in wishes:
        for neighbour in neighbours:
            if neighbour.network == wish.network and neighbour.port in wish.ports:
                for address in wish.addresses:
                    if explain_clash(address, neighbour.host):
                        yield describe_clash(wish, address, neighbour, wanted)
                        break


def describe_clash(wish: Wish, address: str, neighbour: Neighbour, wanted: set[int]) -> Finding:
    """Say who wants what, with both places and what to write in either."""
    port, why = neighbour.port, explain_clash(address, neighbour.host)
    theirs = f"{neighbour.what} on {join(neighbour.host or '0.0.0.0', port)} ({neighbour.place})"
    ours = f"the exporter on {join(address or '0.0.0.0', port)} ({wish.place})"
    if len(wish.ports) > 1:
        ours = f"the exporter, as one of {list_ports(wish.ports)} ({wish.place})"
        why = f"{why} Whichever starts first takes it."
    changes = [*wish.move(wanted)]
    moved = replace_ports(neighbour.text, {port: choose_number(port, wanted) or port})
    # In a line that starts both, the number would change for both.
    if neighbour.movable and moved != neighbour.text and neighbour.place != wish.place:
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
    mine, others = spell_out(ours), spell_out(theirs, dual_stack=True)
    if not overlap(mine, others):
        return ""
    if mine.isdisjoint(EVERYWHERE) == others.isdisjoint(EVERYWHERE):
        return "Both ask for the same address."
    specific = ours if mine.isdisjoint(EVERYWHERE) else theirs
    return (
        f"One asks for {specific}, the other for all addresses. macOS lets both start, and splits"
        " the requests between them; on Linux, and so in every container, the second one fails."
    )


def overlap(mine: Collection[str], other: Collection[str]) -> bool:
    """Tell whether one of the addresses is, or includes, one of the others."""
    return any(
        one == two or (not EVERYWHERE.isdisjoint((one, two)) and (":" in one) == (":" in two))
        for one in mine
        for two in other
    )


def spell_out(host: str, *, dual_stack: bool = False) -> set[str]:
    """Return the addresses that a host as written stands for, as far as no lookup is needed.

    With ``dual_stack`` all of IPv6 includes IPv4, as for whoever leaves IPV6_V6ONLY off; the
    exporter sets it.
    """
    host = host.strip("[]")
    if host in ("", "*"):
        return set(EVERYWHERE)
    if host == "localhost":
        return set(LOCALHOST)
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        return {host}
    if isinstance(number, ipaddress.IPv6Address):
        if dual_stack and number.is_unspecified:
            return set(EVERYWHERE)
        number = number.ipv4_mapped or number
    return {str(number)}


def is_loopback(host: str) -> bool:
    """Tell whether only this machine, or this container, reaches an address as written."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def replace_ports(text: str, numbers: dict[int, int]) -> str:
    """Return a line with other ports in the place of some that stand in it."""
    return re.sub(
        # Of compose's HOST:CONTAINER the second stays: it is the port inside the container.
        r"(?<![\w.])([0-9]{1,5})(?![\w.])((?::[0-9]{1,5}(?![\w.]))?)",
        lambda found: f"{numbers.get(int(found[1]), found[1])}{found[2]}",
        text,
    )


def add_option(text: str, option: str) -> str:
    """Return a line that starts ``runmetrics`` with one more option; as it is where it does not."""
    if item := ITEM.fullmatch(text):
        return f"{text}\n- {item[1]}{option}{item[1]}"
    if element := ELEMENT.search(text):
        word = f"{element[1]}{option}{element[1]}"
        return f"{text[: element.end()]}, {word}{text[element.end() :]}"
    return COMMAND.sub(f"runmetrics {option}", text, count=1)
