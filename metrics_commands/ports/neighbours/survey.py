"""What everything in a project's folder says about ports, together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .environment import read_environment
from .neighbour import HOST_NETWORK, Survey
from .procfile import read_procfile

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def survey(folder: Path, environment: Mapping[str, str]) -> Survey:
    """Return what wants ports: the Procfile, the compose file, else the environment."""
    whole = Survey()
    if os.path.lexists(folder / "Procfile"):
        whole.add(read_procfile(folder / "Procfile", environment))
    has_servers = bool(whole.neighbours)
    for name in COMPOSE_FILES:
        if os.path.lexists(folder / name):
            from .compose import read_compose

            composed = read_compose(folder / name, environment)
            whole.add(composed)
            # A published port alone may be that of a database.
            has_servers |= any(each.network != HOST_NETWORK for each in composed.neighbours)
            break
    if not has_servers:
        whole.add(read_environment(environment, folder))
    places = {(each.place, each.host, each.port, each.network): each for each in whole.neighbours}
    whole.neighbours = list(places.values())
    return whole
