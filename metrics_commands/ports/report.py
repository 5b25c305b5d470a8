"""Sentences about ports for people, shared by the commands."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from . import programs
from .clash import explain_clash
from .command_line import escape
from .listeners import Listener, find_rival, list_listeners
from .owner import Owner, Unseen, find_owner
from .probe import FIRST_UNPRIVILEGED, Probe, State
from .unseen import explain_unseen

OURS = "the exporter of this metrics directory"
OTHER_ADDRESS = "Choose an address of this machine with --address, such as 127.0.0.1."
OTHER_PORT = "Choose another port with --port, or several with --port-range."


@dataclass(frozen=True)
class Report:
    """What is with a port: ``listener`` is the rival's socket where one is seen."""

    probe: Probe
    owner: Owner | Unseen | None = None
    listener: Listener | None = None


def add_owners(probes: Iterable[Probe]) -> list[Report]:
    """Tell of each probe who owns the port; the system is asked once for all of them."""
    probes = list(probes)
    wanted = {probe.port for probe in probes if probe.state is State.TAKEN}
    listeners = [each for each in list_listeners() if each.port in wanted] if wanted else []
    rivals = [find_rival(probe, listeners) for probe in probes]
    explain = cache(explain_unseen)
    return [
        Report(probe, find_owner(probe, rival, explain), rival)
        for probe, rival in zip(probes, rivals, strict=True)
    ]


def describe(report: Report, ours: int | None = None) -> str:
    """Say in one line what is with a port; ``ours`` is the pid of our own exporter, if it runs."""
    probe = report.probe
    if probe.state is State.TAKEN:
        remarks = "; ".join(_list_remarks(report, ours))
        return f"{probe} is taken by {report.owner}" + (f" ({remarks})" if remarks else "")
    return (
        f"{probe} is free"
        if probe.state is State.FREE and probe.port
        else f"{probe}: {probe.reason}"
    )


def _list_remarks(report: Report, ours: int | None) -> Iterator[str]:
    owner, listener = report.owner, report.listener
    if isinstance(owner, Owner):
        if owner.pid == ours:
            yield OURS
        elif owner.program == programs.RUNMETRICS.name:
            yield _name_exporter(owner.directory)
    if listener is not None:
        yield from filter(None, [explain_clash(report.probe.address, listener)])


def _name_exporter(directory: str) -> str:
    """Say which exporter it is that is not ours, as far as its working directory tells."""
    if not directory:
        return "another exporter"
    with suppress(FileNotFoundError):
        if directory == escape(os.getcwd()):
            return "another exporter, started in this directory too"
    return f"another project's exporter, in {directory}"


def advise(reports: Collection[Report]) -> str:
    """Say what to do when none of the ports can be had."""
    refused = [each for each in reports if each.probe.state is not State.FREE]
    refused = [each for each in refused if not each.probe.may_be_missing] or refused
    states = {each.probe.state for each in refused}
    ports = {each.probe.port for each in refused}
    if states == {State.NOT_PERMITTED} and max(ports) < FIRST_UNPRIVILEGED:
        return "Choose a port from 1024 up with --port."
    if any(each.probe.blames_address for each in refused):
        return OTHER_ADDRESS
    if State.TAKEN not in states:
        return OTHER_PORT
    known = _find_advice(refused)
    if known:
        return known
    if len(ports) == 1:
        return (
            "Stop that process, or choose another port with --port, or several with --port-range."
        )
    return "Stop one of those processes, or choose other ports with --port-range."


def _find_advice(refused: Collection[Report]) -> str:
    """Return the advice for the owner where one process, or one port, is all that is refused."""
    owners = [each.owner for each in refused if isinstance(each.owner, Owner)]
    pids = {each.pid for each in owners}
    ports = {each.probe.port for each in refused}
    advice = {each.advice for each in owners}
    if len(owners) == len(refused) and 1 in (len(pids), len(ports)) and len(advice) == 1:
        return advice.pop()
    return ""


def as_record(report: Report, ours: int | None = None) -> dict[str, object]:
    """Return what is with a port as JSON can show it."""
    probe, owner = report.probe, report.owner
    return {
        "address": str(probe.address),
        "port": probe.port,
        "family": "IPv6" if probe.address.family == socket.AF_INET6 else "IPv4",
        "state": probe.state.value,
        "sentence": describe(report, ours),
        "owner": _record_owner(owner, ours) if isinstance(owner, Owner) else None,
    }


def _record_owner(owner: Owner, ours: int | None) -> dict[str, object]:
    return {
        "pid": owner.pid,
        "command": owner.command,
        "program": owner.program,
        "user": owner.user,
        "since": owner.started.isoformat(timespec="seconds"),
        "parent": owner.parent,
        "unit": owner.unit,
        "container": owner.container,
        "ours": owner.pid == ours,
    }
