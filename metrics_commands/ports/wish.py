"""Compare what exporters and their neighbours want, before anything is started."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from ..finding import Change, Finding, Place, make_id
from .address import join
from .neighbours.line import Span, write
from .neighbours.neighbour import BY_HAND, HOST_NETWORK, Neighbour, Starter
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

    ``place`` and ``text`` are the line that decides the port, ``span`` where the port stands in
    it; ``port_option`` is what to add to it where it names none. Where all of the line is about
    the port, as in settings, ``rewritable`` tells so. ``stop`` is where a range() ends, which is
    none of the ports. ``chosen`` tells that this exporter was given its port, rather than all.
    """

    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    place: Place
    text: str
    network: str = HOST_NETWORK
    port_option: str = ""
    stop: int = 0
    span: Span = None
    rewritable: bool = False
    starter: Starter = BY_HAND
    chosen: bool = False

    def move(self, taken: Collection[int] = ()) -> tuple[Change, ...]:
        """Return the line to write for ports that nothing speaks against, if there is one."""
        lowest, highest = min(self.ports), max(self.ports)
        first = choose_number(highest, {*taken, *self.ports}, highest - lowest + 1)
        text = self.rewrite(first) if first else self.text
        return (Change(self.place, text),) if text != self.text else ()

    def rewrite(self, first: int) -> str:
        """Return the line with other ports from ``first`` on; a range keeps its length."""
        shift = first - min(self.ports)
        numbers = {each: each + shift for each in (*self.ports, self.stop) if each}
        if self.span:
            return write(self.text, self.span, replace_ports(self.text[slice(*self.span)], numbers))
        if self.rewritable and self.text:
            return replace_ports(self.text, numbers)
        if self.port_option:
            option = self.port_option.format(first)
            return add_option(self.text, option) if self.text else option
        return self.text


def find_clashes(wishes: Iterable[Wish], neighbours: Collection[Neighbour]) -> Iterator[Finding]:
    """Yield a finding for each neighbour, and each other exporter, that will want the same port."""
    wishes = list(wishes)
    taken = list_taken(wishes, neighbours)
    for wish in wishes:
        for neighbour in neighbours:
            port = find_common_port(wish, neighbour)
            if port:
                for address in wish.addresses:
                    if explain_rivalry(address, neighbour.host):
                        yield describe_clash(wish, address, neighbour, port, taken)
                        break
    for one, other in combinations(wishes, 2):
        yield from compare_exporters(one, other, taken)


def list_taken(wishes: Iterable[Wish], neighbours: Iterable[Neighbour]) -> frozenset[int]:
    """Return the ports that any of them want."""
    wanted = {port for wish in wishes for port in wish.ports}
    return frozenset(wanted.union(*(each.ports for each in neighbours)))


def find_common_port(wish: Wish, neighbour: Neighbour) -> int:
    """Return the first port that both want on one network, 0 where nothing can clash."""
    if neighbour.network != wish.network or wish.starter.excludes(neighbour.starter):
        return 0
    if neighbour.presumed and wish.chosen:
        # The platform's PORT is for whoever is started, here the exporter itself.
        return 0
    if neighbour.for_exporter and wish.starter.kind != neighbour.starter.kind:
        return 0
    return next((port for port in wish.ports if port in neighbour.ports), 0)


def describe_clash(
    wish: Wish, address: str, neighbour: Neighbour, port: int, taken: Collection[int]
) -> Finding:
    """Say who wants what, with both places and what to write in either."""
    why = explain_rivalry(address, neighbour.host)
    theirs = f"{neighbour.what} on {join(neighbour.host or '0.0.0.0', port)} ({neighbour.place})"
    ours = f"the exporter on {join(address or '0.0.0.0', port)} ({wish.place})"
    if len(wish.ports) > 1:
        ours = f"the exporter, as one of {list_ports(wish.ports)} ({wish.place})"
        why = f"{why} Whichever starts first takes it."
    changes = [*wish.move(taken)]
    free = choose_number(neighbour.ports[-1], taken, len(neighbour.ports))
    if neighbour.span and free:
        written = str(free)
        if len(neighbour.ports) > 1:
            written += f"-{free + len(neighbour.ports) - 1}"
        changes.append(Change(neighbour.place, write(neighbour.text, neighbour.span, written)))
    alternative = wish.starter.is_alternative_to(neighbour.starter)
    advice = f"{why} Change one of the two." if len(changes) > 1 else why
    return Finding(
        make_id(17),
        "warning" if alternative else "error",
        f"Port {port} is wanted twice: by {theirs}, and by {ours}.",
        f"This is so if both run on one machine. {advice}" if alternative else advice,
        tuple(changes),
    )


def compare_exporters(one: Wish, other: Wish, taken: Collection[int]) -> Iterator[Finding]:
    """Yield a port that two exporters want; of two ranges each finds another one."""
    common = sorted(set(one.ports) & set(other.ports) - {0})
    together = one.network == other.network and not one.starter.excludes(other.starter)
    alternative = one.starter.is_alternative_to(other.starter)
    if not common or not together or len(one.ports) > 1 < len(other.ports):
        return
    reasons = [explain_rivalry(a, b) for a in one.addresses for b in other.addresses]
    why = next(filter(None, reasons), "")
    if why:
        condition = "This is so if both run on one machine. " if alternative else ""
        yield Finding(
            make_id(17),
            "warning" if alternative else "error",
            f"Port {common[0]} is wanted by two exporters ({one.place} and {other.place}).",
            f"{condition}{why} Change one of the two.",
            (*one.move(taken), *other.move(taken)),
        )


def explain_rivalry(ours: str, theirs: str) -> str:
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
