"""Try ports by binding them: the bind is the probe, and the socket that won then serves."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum

from .address import Address, join

# A client beyond it tries again a second later; the kernel's own limit holds where it is lower.
BACKLOG = 4096
# There a specific address binds under a wildcard that listens, if both sides ask for SO_REUSEADDR.
LETS_STRANGERS_SHARE = sys.platform == "darwin" or "bsd" in sys.platform
TRIES_FOR_KERNEL_PORT = 20
FIRST_UNPRIVILEGED = 1024


class State(Enum):
    """What one probe found."""

    FREE = "free"
    TAKEN = "taken"
    NOT_PERMITTED = "not permitted"
    NOT_HERE = "address not here"
    NO_FAMILY = "family missing"
    FAILED = "failed"


STATES = {
    errno.EADDRINUSE: State.TAKEN,
    errno.EACCES: State.NOT_PERMITTED,
    errno.EPERM: State.NOT_PERMITTED,
    errno.EADDRNOTAVAIL: State.NOT_HERE,
    errno.EAFNOSUPPORT: State.NO_FAMILY,
}


@dataclass(frozen=True)
class Probe:
    """One try at one port of one address."""

    address: Address
    port: int
    state: State
    error_number: int = 0

    def __str__(self) -> str:
        return join(self.address.host, self.port)

    @property
    def passes_by_itself(self) -> bool:
        """Tell whether waiting may help: a holder may leave, the other refusals stay."""
        return self.state is State.TAKEN

    @property
    def may_be_missing(self) -> bool:
        """Tell whether an exporter does without: one family of two that a machine need not have."""
        return not self.address.required and self.state in (State.NO_FAMILY, State.NOT_HERE)

    @property
    def blames_address(self) -> bool:
        """Tell whether the address is the trouble, so that no other port would help."""
        if self.state is State.FAILED:
            # Multicast, or link-local without its interface.
            return self.error_number == errno.EINVAL
        return self.state in (State.NOT_HERE, State.NO_FAMILY)

    @property
    def reason(self) -> str:
        """Say in one sentence what the state means here; for a taken port the owner says more."""
        if self.state is State.NOT_PERMITTED:
            return _explain_not_permitted(self.port)
        if self.state is State.FAILED:
            return _explain_failure(self.address, self.error_number)
        if self.state is State.FREE and self.port == 0:
            return "the kernel will choose a free port"
        family = "IPv6" if self.address.family == socket.AF_INET6 else "IPv4"
        return {
            State.FREE: "free",
            State.TAKEN: "already taken",
            State.NOT_HERE: f"{self.address} is not an address of this machine",
            State.NO_FAMILY: f"this system has no {family}",
        }[self.state]


def _explain_failure(address: Address, error_number: int) -> str:
    if address.lacks_interface:
        return f"a link-local address needs its interface, such as {address}%eth0"
    return f"the system refused: {os.strerror(error_number)}"


def _explain_not_permitted(port: int) -> str:
    if port < FIRST_UNPRIVILEGED:
        return f"port {port} needs privileges that this user has not; ports from 1024 up need none"
    return (
        "a rule of this system (SELinux, a sandbox, ip_unprivileged_port_start)"
        f" keeps this user from port {port}"
    )


@dataclass(frozen=True)
class Claim:
    """Sockets that listen on one port of every address, and the ports that were tried before.

    ``given`` tells that systemd chose; its sockets may have different ports.
    """

    sockets: tuple[socket.socket, ...]
    port: int
    skipped: tuple[Probe, ...]
    given: bool = False


class NoPortFreeError(Exception):
    """Every port was refused; ``refusals`` has one probe for each that was tried."""

    def __init__(self, refusals: Sequence[Probe]) -> None:
        super().__init__(f"{len(refusals)} refused")
        self.refusals = tuple(refusals)


def look(addresses: Iterable[Address], ports: Iterable[int]) -> list[Probe]:
    """Tell the state of every port of every address. It binds and never listens.

    A probe that listened would make an exporter fail that starts at the same instant. Where an
    address cannot be had, one port tells all.
    """
    addresses = list(addresses)
    found: list[Probe] = []
    for port in ports:
        found += [_look(address, port) for address in addresses]
        if any(map(_is_final, found)):
            break
    return found


def _is_final(probe: Probe) -> bool:
    return probe.blames_address and not probe.may_be_missing


def _look(address: Address, port: int) -> Probe:
    try:
        _bind(address, port).close()
    except OSError as error:
        return _refusal(address, port, error)
    return Probe(address, port, State.FREE)


def claim(addresses: Sequence[Address], ports: Iterable[int]) -> Claim:
    """Listen on the first port that is free on all addresses, or raise NoPortFreeError."""
    refusals: list[Probe] = []
    for port in ports:
        outcome = _claim_any(addresses) if port == 0 else _listen_on_all(addresses, port)
        if isinstance(outcome, Probe):
            refusals.append(outcome)
            if _is_final(outcome):
                break
            continue
        return Claim(outcome, outcome[0].getsockname()[1], tuple(refusals))
    raise NoPortFreeError(refusals)


def _claim_any(addresses: Sequence[Address]) -> tuple[socket.socket, ...] | Probe:
    """Let the kernel choose; where the others of ``addresses`` have not that port, again."""
    for _ in range(TRIES_FOR_KERNEL_PORT):
        outcome = _listen_on_all(addresses, 0)
        if not isinstance(outcome, Probe) or outcome.state is not State.TAKEN:
            break
    return outcome


def _listen_on_all(addresses: Sequence[Address], port: int) -> tuple[socket.socket, ...] | Probe:
    """Return a listening socket for each address, or the first refusal; all or nothing.

    Where ``port`` is 0, the first address gets it from the kernel, and the others the same one.
    """
    missing: Probe | None = None
    with ExitStack() as opened:
        sockets = []
        for address in addresses:
            try:
                bound = opened.enter_context(_bind(address, port))
                bound.listen(BACKLOG)
            except OSError as error:
                missing = _refusal(address, port, error)
                if not missing.may_be_missing:
                    return missing
            else:
                sockets.append(bound)
                port = bound.getsockname()[1]
        if sockets or missing is None:
            opened.pop_all()
            return tuple(sockets)
    return missing


def _bind(address: Address, port: int) -> socket.socket:
    """Return a socket bound to the port, not yet listening, or raise OSError."""
    if LETS_STRANGERS_SHARE and port:
        _open(address, port, reuse=False).close()
    return _open(address, port, reuse=True)


def _open(address: Address, port: int, *, reuse: bool) -> socket.socket:
    opened = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        # Without it, connections of a predecessor in TIME_WAIT refuse the port for a minute.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        if hasattr(socket, "SO_REUSEPORT"):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
        if address.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address.with_port(port))
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _refusal(address: Address, port: int, error: OSError) -> Probe:
    number = error.errno or 0
    return Probe(address, port, STATES.get(number, State.FAILED), number)
