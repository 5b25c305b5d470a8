"""What the files of a project say about ports, in one form for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...finding import Finding, Place
from .line import Span

# The network of the machine itself; every other network is that of one compose service.
HOST_NETWORK = ""
PROCFILE = "Procfile"
COMPOSE = "compose"


@dataclass(frozen=True)
class Starter:
    """Who starts something: PROCFILE, COMPOSE with a service and its profiles, or '' by hand."""

    kind: str = ""
    service: str = ""
    profiles: frozenset[str] = frozenset()

    def excludes(self, other: Starter) -> bool:
        """Tell whether the two are never started together: their profiles are different ones."""
        both = self.profiles and other.profiles
        return bool(both) and self.profiles.isdisjoint(other.profiles)

    def is_alternative_to(self, other: Starter) -> bool:
        """Tell whether a machine has one or the other, as with a Procfile and a compose file."""
        return bool(self.kind and other.kind) and self.kind != other.kind


BY_HAND = Starter()


@dataclass(frozen=True)
class Neighbour:
    """Something that is configured to listen on a port, or on all from ``port`` to ``last``.

    ``what`` names it for a person, as ``gunicorn of 'web'``; ``place`` and ``text`` are the line,
    of which ``text`` has only what may be shown, and ``span`` is where its port stands there, None
    where no other can be written. ``host`` is an address or name as written; ``0.0.0.0``, ``::``
    and ``*`` are all addresses. ``network`` is HOST_NETWORK or a compose service's name.
    ``environment`` is what its process would see. ``presumed`` tells that nothing but a variable
    speaks of it, and ``for_exporter`` that the port is published for an exporter.
    """

    what: str
    place: Place
    text: str
    host: str
    port: int
    network: str = HOST_NETWORK
    last: int = 0
    span: Span = None
    environment: Mapping[str, str] = field(default_factory=dict)
    starter: Starter = BY_HAND
    presumed: bool = False
    for_exporter: bool = False

    @property
    def ports(self) -> range:
        """Return all its ports."""
        return range(self.port, max(self.port, self.last) + 1)


@dataclass(frozen=True)
class Offer:
    """A port of a container, from ``first`` to ``last``, that others are told to use."""

    first: int
    last: int
    place: Place


@dataclass(frozen=True)
class ExporterLine:
    """A line that starts ``runmetrics``.

    ``options`` are its options as argparse would name them (``port``, ``port_range``,
    ``address``, ``metrics_dir``; a list where one repeats), ``environment`` all variables that
    it would see. ``text`` and ``span`` are as a neighbour's. ``volumes`` maps each mount's target
    folder in a container to its source; ``reached_from_outside`` tells whether others must reach
    it through its container's network, and ``offers`` which ports they are given for that.
    """

    place: Place
    text: str
    options: Mapping[str, object]
    environment: Mapping[str, str]
    network: str = HOST_NETWORK
    volumes: Mapping[str, str] = field(default_factory=dict)
    reached_from_outside: bool = False
    span: Span = None
    starter: Starter = BY_HAND
    offers: tuple[Offer, ...] = ()


@dataclass
class Survey:
    """What one file, or all of them, say."""

    neighbours: list[Neighbour] = field(default_factory=list)
    exporters: list[ExporterLine] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Survey) -> None:
        """Take what another survey has."""
        self.neighbours += other.neighbours
        self.exporters += other.exporters
        self.findings += other.findings
