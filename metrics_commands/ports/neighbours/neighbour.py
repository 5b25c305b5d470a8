"""What the files of a project say about ports, in one form for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...finding import Finding, Place

# The network of the machine itself; every other network is that of one compose service.
HOST_NETWORK = ""


@dataclass(frozen=True)
class Neighbour:
    """Something that is configured to listen on a port.

    ``what`` names it for a person, as ``gunicorn of 'web'``; ``place`` and ``text`` are the line
    as it stands in its file. ``host`` is an address or name as written; ``0.0.0.0``, ``::`` and
    ``*`` are all addresses. ``network`` is HOST_NETWORK or a compose service's name.
    ``movable`` is False where no other port can be written into that line.
    """

    what: str
    place: Place
    text: str
    host: str
    port: int
    network: str = HOST_NETWORK
    movable: bool = True


@dataclass(frozen=True)
class ExporterLine:
    """A line that starts ``runmetrics``.

    ``options`` are its options as argparse would name them (``port``, ``port_range``,
    ``address``, ``metrics_dir``; a list where one repeats), ``environment`` all variables that
    it would see. ``volumes`` maps each mount's target folder in a container to its source;
    ``reached_from_outside`` tells whether others must reach it through its container's network.
    """

    place: Place
    text: str
    options: Mapping[str, object]
    environment: Mapping[str, str]
    network: str = HOST_NETWORK
    volumes: Mapping[str, str] = field(default_factory=dict)
    reached_from_outside: bool = False


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
