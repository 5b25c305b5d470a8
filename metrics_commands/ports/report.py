"""Sentences about ports for people, shared by the commands."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .owner import Owner, Unseen, find_owner, list_listeners
from .probe import FIRST_UNPRIVILEGED, Probe, State

OURS = " (the exporter of this metrics directory)"
Finding = tuple[Probe, Owner | Unseen | None]


def add_owners(probes: Iterable[Probe]) -> list[Finding]:
    """Pair each probe with the owner of the port; the system is asked once for all of them."""
    probes = list(probes)
    taken = any(probe.state is State.TAKEN for probe in probes)
    listeners = list_listeners() if taken else []
    return [(probe, find_owner(probe, listeners)) for probe in probes]


def describe(finding: Finding, ours: int | None = None) -> str:
    """Say in one line what is with a port; ``ours`` is the pid of our own exporter, if it runs."""
    probe, owner = finding
    if probe.state is State.TAKEN:
        own = isinstance(owner, Owner) and owner.pid == ours
        return f"{probe} is taken by {owner}" + (OURS if own else "")
    return (
        f"{probe} is free"
        if probe.state is State.FREE and probe.port
        else f"{probe}: {probe.reason}"
    )


def advise(findings: Collection[Finding]) -> str:
    """Say what to do when none of the ports can be had."""
    probes = [probe for probe, _ in findings if probe.state is not State.FREE]
    probes = [probe for probe in probes if not probe.may_be_missing] or probes
    states = {probe.state for probe in probes}
    ports = {probe.port for probe in probes}
    if states == {State.NOT_PERMITTED} and max(ports) < FIRST_UNPRIVILEGED:
        return "Choose a port from 1024 up with --port."
    if states & {State.NOT_HERE, State.NO_FAMILY}:
        return "Choose an address of this machine with --address, such as 127.0.0.1."
    if State.TAKEN not in states:
        return "Choose another port with --port, or several with --port-range."
    if len(ports) == 1:
        return (
            "Stop that process, or choose another port with --port, or several with --port-range."
        )
    return "Stop one of those processes, or choose other ports with --port-range."
