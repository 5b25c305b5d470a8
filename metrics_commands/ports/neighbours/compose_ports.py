"""The ports that compose publishes on the host, and which of them are wanted twice."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...finding import Change, Finding, make_id
from .compose_document import Node
from .compose_service import Service, count_replicas, read_profiles
from .line import Span, show
from .neighbour import Offer

RANGE = r"[0-9]{1,5}(?:-[0-9]{1,5})?"
SHORT = re.compile(
    rf"(?:(?:(?P<host>.*):)?(?P<published>{RANGE}|):)?(?P<target>{RANGE})(?:/(?P<protocol>\w+))?"
)
BASE_60 = re.compile(r"[1-9][0-9]{0,4}:[0-5]?[0-9]")
ALL = ("0.0.0.0", "::")
LAST_PORT = 65_535
MOST_TRIES = 1_000
# Nobody reads more than some thousand findings.
STEPS_PER_FINDING = 50


@dataclass(frozen=True)
class Entry:
    """One entry that publishes fixed ports: ``host`` is '' for all addresses of both families."""

    service: str
    node: Node
    host: str
    first: int
    last: int
    target: str
    written: str
    profiles: frozenset[str] = frozenset()

    @property
    def ports(self) -> range:
        """Return the ports on the host."""
        return range(self.first, self.last + 1)

    @property
    def line(self) -> tuple[str, Span]:
        """Return its line as it may be shown, and where its port on the host stands there."""
        return self._show(self.node.line_with("") or self.node.written, self.written)

    def overlaps(self, other: Entry) -> bool:
        """Tell whether both want a port of the same address, and may run at the same time."""
        if self.profiles and other.profiles and self.profiles.isdisjoint(other.profiles):
            return False
        return any(
            mine == theirs or ((mine in ALL or theirs in ALL) and (":" in mine) == (":" in theirs))
            for mine in ([self.host] if self.host else ALL)
            for theirs in ([other.host] if other.host else ALL)
        )

    def move(self, first: int, last: int) -> str:
        """Return the entry's line with other ports on the host, as it may be shown."""
        old = self._find(self.written)
        new = _join(first, last)
        node = self.node
        expected = old.sub(new, node.read(), count=1)
        # Where a variable has the port, it gives way to the number.
        kept = node.source.interpolate(old.sub(new, node.written, count=1)) == expected
        scalar = old.sub(new, node.raw, count=1) if kept else f'"{expected}"'
        return self._show(node.line_with(scalar) or f'- "{expected}"', new)[0]

    def _show(self, line: str, port: str) -> tuple[str, Span]:
        start = max(0, self.node.find_column(self.node.column))
        found = self._find(port).search(line, start) or self._find(port).search(line)
        return show(line, found.span() if found else None, self.service)

    def _find(self, port: str) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w.]){re.escape(port)}(?![\w.\]])")


def _join(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def read_entries(service: Service, findings: list[Finding]) -> list[Entry]:
    """Return the entries of a service that publish fixed TCP ports; say which are not clear."""
    found: list[Entry] = []
    profiles = read_profiles(service)
    for node in service.every("ports"):
        layer: list[Entry] = []
        for item in node.items():
            if item.plain and BASE_60.fullmatch(item.written):
                findings.append(_warn_of_base_60(item))
            try:
                entry = _read_entry(service.name, item, profiles)
            except ValueError:
                what = f"{item.place}: this is no port mapping that compose would understand."
                findings.append(Finding(make_id(19), "warning", what))
                continue
            if entry:
                item.source.budget.spend(4 + len(entry.ports))
                layer.append(entry)
        # An override that repeats an entry does not publish it twice.
        known = {(each.host, each.first, each.last, each.target) for each in found}
        found += [e for e in layer if (e.host, e.first, e.last, e.target) not in known]
    return found


def read_offers(service: Service) -> tuple[Offer, ...]:
    """Return the ports of a container that ``expose`` and ``ports`` tell others to use."""
    found: dict[tuple[int, int], Offer] = {}
    for item in [
        item for key in ("expose", "ports") for node in service.every(key) for item in node.items()
    ]:
        entries = item.entries()
        match = SHORT.fullmatch(entries["target"].read() if "target" in entries else item.read())
        protocol = (
            entries["protocol"].read() if "protocol" in entries else match and match["protocol"]
        )
        if match is None or (protocol or "tcp").lower() != "tcp":
            continue
        try:
            ports = _read_range(match["target"])
        except ValueError:
            continue
        found.setdefault(ports, Offer(*ports, item.place))
    return tuple(found.values())


def _read_entry(service: str, node: Node, profiles: frozenset[str]) -> Entry | None:
    """Return an entry; None for one that takes a free port, or no TCP port, of the host."""
    entries = node.entries()
    if entries:
        names = ("host_ip", "published", "target", "protocol")
        host, published, target, protocol = (
            entries[name].read() if name in entries else "" for name in names
        )
        node = entries.get("published", node)
    else:
        match = SHORT.fullmatch(node.read())
        if match is None:
            raise ValueError("no port mapping")
        host, published, target, protocol = (each or "" for each in match.groups())
    if host:
        host = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
    targets = _read_range(target)
    first, last = _read_range(published) if published else (0, 0)
    # Of a range for one port, whichever is free is taken.
    fixed = first > 0 and last - first == targets[1] - targets[0]
    if published and not fixed and targets[0] != targets[1]:
        raise ValueError("two ranges of different length")
    if not fixed or protocol.lower() not in ("", "tcp"):
        return None
    return Entry(service, node, host, first, last, target, published, profiles)


def _read_range(text: str) -> tuple[int, int]:
    if not re.fullmatch(RANGE, text):
        raise ValueError("no port")
    first, _, last = text.partition("-")
    bounds = int(first), int(last or first)
    if not bounds[0] <= bounds[1] <= LAST_PORT:
        raise ValueError("no range of ports")
    return bounds


def _warn_of_base_60(node: Node) -> Finding:
    first, _, second = node.written.partition(":")
    return Finding(
        make_id(19),
        "warning",
        f"{node.place}: {node.written} without quotes is a number in base 60 to YAML 1.1,"
        f" {int(first) * 60 + int(second)}.",
        "Only some readers take it for two ports.",
        (Change(node.place, _quote(node)),),
    )


def _quote(node: Node) -> str:
    line = node.line_with(f'"{node.written}"')
    start = node.find_column(node.column) + 1
    size = len(node.written.partition(":")[0])
    return show(line, (start, start + size))[0] if line else f'- "{node.written}"'


def find_published_twice(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Yield a finding for each entry that wants a port of the host that one before it wants."""
    wanted: dict[int, list[Entry]] = {}
    for entry in entries:
        for port in entry.ports:
            wanted.setdefault(port, [])
    taken = set(wanted)
    for entry in entries:
        rival = _find_rival(entry, wanted)
        if rival:
            yield _report(entry, *rival, taken)
        for port in entry.ports:
            wanted[port].append(entry)


def _find_rival(entry: Entry, wanted: dict[int, list[Entry]]) -> tuple[Entry, int] | None:
    for port in entry.ports:
        entry.node.source.budget.spend(len(wanted[port]))
        for other in wanted[port]:
            if entry.overlaps(other):
                return other, port
    return None


def _report(entry: Entry, other: Entry, port: int, taken: set[int]) -> Finding:
    entry.node.source.budget.spend(STEPS_PER_FINDING)
    same = entry.service == other.service
    who = f"'{entry.service}' twice" if same else f"'{other.service}' and '{entry.service}'"
    free = _find_free(entry, taken)
    changes = [Change(other.node.place, other.line[0])]
    if free:
        taken.update(free)
        changes.append(Change(entry.node.place, entry.move(free[0], free[-1])))
    return Finding(
        make_id(18),
        "error",
        f"Port {port} of the host is published by {who}"
        f" ({other.node.place} and {entry.node.place}).",
        "A port of the host goes to one container; the second does not start.",
        tuple(changes),
    )


def _find_free(entry: Entry, taken: set[int]) -> range | None:
    first, size = entry.last + 1, len(entry.ports)
    for _ in range(MOST_TRIES):
        ports = range(first, first + size)
        if ports[-1] > LAST_PORT:
            break
        used = [port for port in ports if port in taken]
        if not used:
            return ports
        first = used[-1] + 1
    return None


def find_crowd(service: Service, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Yield a finding for each fixed port that several replicas of a service want."""
    count = count_replicas(service)
    for entry in entries if count > 1 else ():
        last = entry.first + count - 1
        fits = entry.first == entry.last and last <= LAST_PORT
        yield Finding(
            make_id(18),
            "warning",
            f"'{service.name}' runs {count} times, and each wants port {entry.written}"
            f" of the host ({entry.node.place}).",
            "A port of the host goes to one container; a range gives each its own. Only Swarm's"
            " ingress shares one published port among all.",
            (Change(entry.node.place, entry.move(entry.first, last)),) if fits else (),
        )
