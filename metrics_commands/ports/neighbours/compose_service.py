"""A compose service in layers: what it extends, its own lines, and an override's."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...finding import Finding, Place, make_id
from .compose_document import Node
from .file import UnreadableError, read_text, report_unread
from .interpolation import read_variables
from .neighbour import HOST_NETWORK


@dataclass(eq=False)
class Service:
    """One service; of its layers the last one has the last word."""

    name: str
    place: Place
    layers: list[dict[str, Node]] = field(default_factory=list)

    def every(self, key: str) -> list[Node]:
        """Return what the layers say under a key, in order, as ``!reset`` and ``!override`` ask."""
        found: list[Node] = []
        for layer in self.layers:
            node = layer.get(key)
            if node is None:
                continue
            if node.tag in ("!reset", "!override"):
                found.clear()
            if node.tag != "!reset" and not node.is_null:
                found.append(node)
        return found

    def last(self, key: str) -> Node | None:
        """Return what the last layer that has the key says."""
        found = self.every(key)
        return found[-1] if found else None

    def read(self, key: str) -> str:
        """Return the text under a key, or ''."""
        node = self.last(key)
        return node.read() if node else ""


def collect_services(roots: list[Node], findings: list[Finding]) -> dict[str, Service]:
    """Return the services of all documents by name, with those that they extend."""
    own: dict[str, Service] = {}
    for root in roots:
        services = root.entries().get("services")
        for name, node in services.entries().items() if services else ():
            # An anchor stands elsewhere; the service is where its first line is.
            service = own.setdefault(name, Service(name, node.place))
            service.layers.append(node.entries())
    return {name: _inherit(service, own, findings) for name, service in own.items()}


def _inherit(service: Service, services: Mapping[str, Service], findings: list[Finding]) -> Service:
    """Return a service on top of what it extends in the same file."""
    layers, seen, current = service.layers, {service.name}, service
    while extends := current.last("extends"):
        source = extends.source
        source.budget.spend(1 + len(layers))
        named = extends.entries() or {"service": extends}
        file = named["file"].read() if "file" in named else ""
        name = named["service"].read() if "service" in named else ""
        own = os.path.basename(source.file)
        if os.path.normpath(file or own) != own:
            what = f"{source.file} was not read whole: '{service.name}' extends a service of {file}"
            findings.append(Finding(make_id(19), "info", f"{what}, which is not followed."))
            break
        if name in seen or name not in services:
            break
        seen.add(name)
        current = services[name]
        layers = current.layers + layers
    return Service(service.name, service.place, layers)


@dataclass(frozen=True)
class Command:
    """Entrypoint and command of a service: the scalars that say them, and the node of the last."""

    node: Node
    scalars: Sequence[tuple[Node, bool]]

    @property
    def texts(self) -> list[str]:
        """Return what is written, scalar by scalar."""
        return [node.written for node, _ in self.scalars]

    def read(self, texts: Sequence[str]) -> list[str]:
        """Return the argv that such texts make."""
        words: list[str] = []
        for text, (node, is_word) in zip(texts, self.scalars, strict=True):
            # It spends what reading costs, and refuses what is too long.
            value = node.read() if text == node.written else node.source.interpolate(text)
            try:
                words += [value] if is_word else shlex.split(value)
            except ValueError:
                continue
        return words


def find_command(service: Service) -> Command | None:
    """Return what a service runs, where its lines say it."""
    nodes = [each for each in (service.last("entrypoint"), service.last("command")) if each]
    scalars = [
        (item, node.kind == "sequence")
        for node in nodes
        for item in node.items()
        if item.kind == "scalar"
    ]
    return Command(nodes[-1], scalars) if scalars else None


def count_replicas(service: Service) -> int:
    """Return how many times a service runs."""
    deploy = [each.entries().get("replicas") for each in service.every("deploy")]
    counts = [each.read() for each in [*deploy, service.last("scale")] if each]
    return int(counts[-1]) if counts and re.fullmatch("[0-9]{1,4}", counts[-1]) else 1


def read_profiles(service: Service) -> frozenset[str]:
    """Return the profiles with which a service is started; none means always."""
    return frozenset(item.read() for node in service.every("profiles") for item in node.items())


def read_environment(service: Service, folder: Path, findings: list[Finding]) -> dict[str, str]:
    """Return the variables of a service: those of its files, then those of its own lines."""
    found: dict[str, str] = {}
    for file in service.every("env_file"):
        for item in file.items() if file.kind != "mapping" else [file]:
            found |= _read_env_file(item, folder, service.name, findings)
    for node in service.every("environment"):
        variables = node.source.variables
        for name, value in _read_pairs(node):
            if value is not None:
                found[name] = value
            elif name in variables:
                found[name] = variables[name]
    return found


def _read_pairs(node: Node) -> Iterator[tuple[str, str | None]]:
    for name, value in node.entries().items():
        yield name, None if value.is_null else value.read()
    for item in node.items():
        name, equals, text = item.read().partition("=")
        yield name, text if equals else None


def _read_env_file(
    node: Node, folder: Path, service: str, findings: list[Finding]
) -> dict[str, str]:
    entries = node.entries() or {"path": node}
    name = entries["path"].read() if "path" in entries else ""
    required = "required" not in entries or entries["required"].read().lower() != "false"
    if not name or (not required and not os.path.exists(folder / name)):
        return {}
    try:
        text = read_text(folder / name)
    except UnreadableError as error:
        findings.append(report_unread(f"The env_file {name} of '{service}'", error))
        return {}
    node.source.budget.spend(len(text) // 10)
    return read_variables(text, node.source.variables)


def read_volumes(service: Service, services: Mapping[str, Service], folder: Path) -> dict[str, str]:
    """Return the source of each mount by its folder in the container, also of ``volumes_from``."""
    found: dict[str, str] = {}
    pending, seen = [service], set()
    while pending:
        current = pending.pop()
        seen.add(current.name)
        own = dict(
            mount
            for node in current.every("volumes")
            for item in (node.items() if node.kind == "sequence" else [])
            if (mount := _read_mount(item, folder))
        )
        found = own | found
        for node in current.every("volumes_from"):
            for item in node.items():
                name = item.read().partition(":")[0]
                if name in services and name not in seen:
                    pending.append(services[name])
    return found


def _read_mount(node: Node, folder: Path) -> tuple[str, str] | None:
    """Return a mount's target and source, or None for one that nobody else can have."""
    entries = node.entries()
    if entries:
        parts = [entries[key].read() if key in entries else "" for key in ("source", "target")]
        if "type" in entries and entries["type"].read() not in ("bind", "volume"):
            return None
    else:
        parts = node.read().split(":")
    if len(parts) < 2 or not all(parts[:2]) or "\0" in parts[0]:
        return None
    source, target = parts[:2]
    if source == "~" or source.startswith("~/"):
        source = os.path.expanduser(source)
    if source.startswith((".", "/")):
        source = os.path.normpath(folder / source)
    return os.path.normpath(target), source


def has_own_network(service: Service) -> bool:
    """Tell whether others reach a service through a network of its container's own."""
    mode = service.read("network_mode")
    return mode not in ("host", "none") and not mode.startswith(("service:", "container:"))


def find_network(service: Service, services: Mapping[str, Service]) -> str:
    """Return the network that a service listens on: the host's, its own or another service's."""
    seen: set[str] = set()
    while service.name not in seen:
        seen.add(service.name)
        mode = service.read("network_mode")
        if mode == "host":
            return HOST_NETWORK
        if mode.startswith("container:"):
            return mode
        target = mode.removeprefix("service:")
        if target == mode or target not in services:
            break
        service = services[target]
    return service.name
