"""Whether the exporter of a compose file sees the folder into which a web server writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ...finding import Change, Finding, Place, make_id
from .compose_service import Service

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
DEFAULT_DIRECTORY = "/run/metrics"
DEFAULT_VOLUME = "metrics"


@dataclass(frozen=True)
class Member:
    """A service of a deployment: its mounts by target, and where it is told to have its numbers.

    ``fixed`` tells that its command line names the folder, which no variable overrules.
    """

    service: Service
    volumes: Mapping[str, str]
    directory: str
    fixed: bool = False

    def locate(self, directory: str) -> tuple[str, str] | None:
        """Return the mount's source that holds a folder of the container, and the rest below it."""
        folder = os.path.normpath(directory)
        rest: list[str] = []
        while folder not in self.volumes:
            parent, name = os.path.split(folder)
            if parent == folder or not name:
                return None
            rest.insert(0, name)
            folder = parent
        return self.volumes[folder], "/".join(rest)


def is_same_build(one: Service, other: Service) -> bool:
    """Tell whether two services run the same image, or build it from the same folder."""
    image, build = one.read("image"), _read_build(one)
    return bool((image and image == other.read("image")) or (build and build == _read_build(other)))


def _read_build(service: Service) -> tuple[str, str] | None:
    node = service.last("build")
    if node is None:
        return None
    entries = node.entries() or {"context": node}
    context, file = (
        entries[key].read() if key in entries else "" for key in ("context", "dockerfile")
    )
    return os.path.normpath(context or "."), file or "Dockerfile"


def compare(web: Member, exporter: Member) -> Finding | None:
    """Return what keeps the exporter from the numbers of a web server, or None."""
    names = f"'{web.service.name}' and '{exporter.service.name}'"
    if not set(web.volumes.values()) & set(exporter.volumes.values()):
        what = f"{names} share no volume."
    elif not web.directory or not exporter.directory:
        # The settings decide, which are not read here.
        return None
    else:
        place = web.locate(web.directory)
        if place and place == exporter.locate(exporter.directory):
            return None
        if web.directory != exporter.directory:
            what = f"{names} have their numbers in different folders: {web.directory} and"
            what += f" {exporter.directory}."
        else:
            what = f"{names} share a volume, but not {web.directory}, where the numbers are."
    why = "runmetrics reads the files that the web server's workers write."
    return Finding(make_id(20), "warning", what, why, _advise(web, exporter))


def _advise(web: Member, exporter: Member) -> tuple[Change, ...]:
    """Return the lines that give both the same folder in the same volume."""
    directory = (exporter.directory if exporter.fixed else "") or web.directory
    directory = directory or exporter.directory or DEFAULT_DIRECTORY
    members = (web, exporter)
    found = [each.volumes[directory] for each in members if directory in each.volumes]
    volume = (found or [DEFAULT_VOLUME])[0]
    place = web.locate(directory)
    shared = place is not None and place == exporter.locate(directory)
    changes: list[Change] = []
    for member in members:
        if not shared and member.volumes.get(directory) != volume:
            changes.append(_write_item(member.service, "volumes", f"{volume}:{directory}"))
        if member.directory != directory and not member.fixed:
            changes.append(_write_variable(member.service, directory))
    if not shared and not found:
        file = web.service.place.file
        changes.append(Change(Place(file), f"volumes: {{{DEFAULT_VOLUME}: {{}}}}"))
    return tuple(changes)


def _write_item(service: Service, key: str, item: str) -> Change:
    node = service.last(key)
    if node and node.children:
        return Change(node.children[0].place, f"- {item}")
    return Change(service.place, f'{key}: ["{item}"]')


def _write_variable(service: Service, directory: str) -> Change:
    node = service.last("environment")
    if node and node.kind == "sequence":
        return _write_item(service, "environment", f"{DIRECTORY}={directory}")
    if node and node.children:
        return Change(node.children[0].place, f"{DIRECTORY}: {directory}")
    return Change(service.place, f"environment: {{{DIRECTORY}: {directory}}}")
