"""What everything in a project's folder says about ports, together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .environment import read_environment
from .neighbour import HOST_NETWORK, Survey
from .procfile import read_procfile

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
FILES, SEPARATOR = "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR"
MOST_FOLDERS_UP = 3


def survey(folder: Path, environment: Mapping[str, str]) -> Survey:
    """Return what wants ports: the Procfile, the compose file, else the environment."""
    whole = Survey()
    folders = list_folders(folder)
    for each in folders:
        if os.path.lexists(each / "Procfile"):
            name = os.path.relpath(each / "Procfile", folder)
            whole.add(read_procfile(each / "Procfile", environment, name))
            break
    has_servers = bool(whole.neighbours)
    composed = _read_compose(folders, environment)
    whole.add(composed)
    # A published port alone may be that of a database.
    has_servers |= any(each.network != HOST_NETWORK for each in composed.neighbours)
    if not has_servers:
        whole.add(read_environment(environment, folder))
    places = {
        (each.place, each.host, each.port, each.network, each.span): each
        for each in whole.neighbours
    }
    whole.neighbours = list(places.values())
    whole.findings = list(dict.fromkeys(whole.findings))
    return whole


def list_folders(folder: Path) -> list[Path]:
    """Return a project's folder, and those above it up to its repository's root."""
    folders = [folder, *folder.absolute().parents[:MOST_FOLDERS_UP]]
    for count, each in enumerate(folders, start=1):
        if os.path.lexists(each / ".git"):
            return folders[:count]
    return [folder]


def _read_compose(folders: list[Path], environment: Mapping[str, str]) -> Survey:
    for folder in folders:
        named = list(_list_named(folder, environment))
        usual = [folder / name for name in COMPOSE_FILES if os.path.lexists(folder / name)]
        if named or usual:
            from .compose import read_compose

            first, others = (named[0], named[1:]) if named else (usual[0], None)
            return read_compose(first, environment, others, folders[0])
    return Survey()


def _list_named(folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that COMPOSE_FILE names, in the environment or in ``.env``."""
    from .compose import read_dotenv

    variables = read_dotenv(folder, environment, [])
    separator = variables.get(SEPARATOR) or os.pathsep
    for name in variables.get(FILES, "").split(separator):
        if name:
            yield folder / name
