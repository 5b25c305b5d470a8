"""Tell a process's systemd unit and container from the names of its control groups (Linux)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SERVICE = re.compile(r"[\w:.@\\-]{1,247}\.service", re.ASCII)
LONG_ID = r"(?P<id>[0-9a-f]{64})"
# As each runtime names the group of one container; the units of their monitors are not meant.
SCOPE = re.compile(rf"(docker|libpod|cri-containerd|crio)-{LONG_ID}\.scope")
COLONS = re.compile(rf"[\w.-]+:cri-containerd:{LONG_ID}", re.ASCII)
BARE = re.compile(LONG_ID)
PARENT = re.compile(r"docker|libpod(_parent)?|ecs|kubepods.*")
LXC = re.compile(r"lxc\.payload\.(?P<id>[\w.-]{1,64})", re.ASCII)
LXC_NAME = re.compile(r"(?P<id>[\w.-]{1,64})", re.ASCII)
SHORT = 12


@dataclass(frozen=True)
class Group:
    """Where a process belongs: '' for what cannot be told."""

    unit: str = ""
    container: str = ""


def read_group(pid: int | str) -> Group:
    """Return the group of a process (``self``: our own); an empty one where it cannot be read."""
    try:
        with open(f"/proc/{pid}/cgroup", errors="replace") as file:
            return parse_group(file.read())
    except OSError:
        return Group()


def find_group(pid: int) -> Group:
    """Return the group of a process as seen from here: a container only if it is not our own."""
    group = read_group(pid)
    if not group.container or group.container == read_group("self").container:
        return Group(group.unit)
    return group


def parse_group(text: str) -> Group:
    """Return what the lines of ``/proc/PID/cgroup`` tell, of version 1 or 2."""
    unit = container = ""
    for names, path in _read_paths(text):
        parts = path.split("/")
        found, inside = _find_container(parts)
        container = container or found
        if names in ("", "name=systemd"):
            # What is above the container is the unit of its runtime.
            services = [each for each in parts[inside:] if SERVICE.fullmatch(each)]
            unit = unit or "".join(services[-1:])
    return Group(unit, container)


def _read_paths(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        number, _, rest = line.partition(":")
        names, colon, path = rest.partition(":")
        if number.isdecimal() and colon:
            yield names, path


def _find_container(parts: list[str]) -> tuple[str, int]:
    """Return the innermost container, and how many parts of the path lead to it."""
    for index in range(len(parts) - 1, -1, -1):
        part, above = parts[index], parts[:index]
        match = SCOPE.fullmatch(part) or COLONS.fullmatch(part)
        if match is None and any(PARENT.fullmatch(each) for each in above):
            match = BARE.fullmatch(part)
        if match:
            return match["id"][:SHORT], index + 1
        name = LXC.fullmatch(part)
        if name is None and above and above[-1] in ("lxc", "lxc.payload"):
            name = LXC_NAME.fullmatch(part)
        if name:
            return name["id"], index + 1
    return "", 0
