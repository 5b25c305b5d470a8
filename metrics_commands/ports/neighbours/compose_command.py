"""What the command of a compose service listens on, and at which line it says so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from .compose_service import Command, Service, find_command, find_network, read_profiles
from .neighbour import COMPOSE, HOST_NETWORK, ExporterLine, Neighbour, Starter, Survey
from .position import Position, locate_all
from .servers import read_command

SEPARATOR = re.compile(r"[;&|(`\n]")
# To parse one server's options takes as long as that many steps elsewhere.
STEPS_PER_COMMAND = 250

Started = TypeVar("Started", Neighbour, ExporterLine)


def make_starter(service: Service) -> Starter:
    """Return who starts what runs in a service."""
    return Starter(COMPOSE, service.name, read_profiles(service))


def read_service(
    service: Service,
    services: Mapping[str, Service],
    environment: Mapping[str, str],
    folder: Path,
) -> Survey:
    """Return what the command of a service listens on, each at the line that names its port."""
    command = find_command(service)
    return (
        _read(service, command, environment, folder, find_network(service, services))
        if command
        else Survey()
    )


def _read(
    service: Service,
    command: Command,
    environment: Mapping[str, str],
    folder: Path,
    network: str,
) -> Survey:
    node = command.node
    text = node.text

    def read(texts: Sequence[str]) -> Survey:
        argv = command.read(texts)
        commands = 1 + sum(len(SEPARATOR.findall(word)) for word in argv)
        node.source.budget.spend(STEPS_PER_COMMAND * commands)
        return read_command(
            argv,
            environment,
            node.place,
            service.name,
            folder=folder,
            network=network,
            text=text,
        )

    found = read(command.texts)
    positions = locate_all(found, command.texts, read)
    starter = make_starter(service)

    def mark(each: Started, position: Position | None) -> Started:
        each = replace(each, starter=starter)
        # What a gunicorn.conf.py says stands there, not here.
        return _place(each, position, command) if each.place == node.place else each

    reached = network != HOST_NETWORK and service.read("network_mode") != "none"
    servers = [mark(*each) for each in zip(found.neighbours, positions[0], strict=True)]
    exporters = [
        replace(mark(*each), reached_from_outside=reached)
        for each in zip(found.exporters, positions[1], strict=True)
    ]
    return Survey(servers, exporters, found.findings)


def _place(each: Started, position: Position | None, command: Command) -> Started:
    """Return it with the line where its port stands, or the one that says runmetrics."""
    if position:
        node = command.scalars[position.index][0]
        written = command.texts[position.index][position.start : position.end]
        place, text, span = node.find_part(written, position.count, each.starter.service)
        return replace(each, place=place, text=text, span=span)
    if isinstance(each, ExporterLine):
        for node, _ in command.scalars:
            if "runmetrics" in node.written:
                place, text, _ = node.find_part("runmetrics", 0, each.starter.service)
                return replace(each, place=place, text=text)
    return each
