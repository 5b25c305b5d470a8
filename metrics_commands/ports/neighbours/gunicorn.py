"""What gunicorn binds: its arguments, then GUNICORN_CMD_ARGS, then its file, then its default."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...finding import Finding, Place
from .bind import Address, parse_bind
from .file import UnreadableError, report_unread
from .gunicorn_conf import read_binds
from .options import Options
from .programs import Program
from .shell import LONGEST_LINE, UNKNOWN

CONFIGURATION = "gunicorn.conf.py"
VARIABLE = "GUNICORN_CMD_ARGS"
DEFAULT_PORT = 8000
OPTIONS = Options(
    single={"config": "-c --config"},
    several={"bind": "-b --bind"},
    rivals="--backlog --chdir --control-socket",
    flags="-D --daemon -R --check-config --print-config",
)


def listen(program: Program, base: Path) -> Iterator[Address | Finding | None]:
    """Yield where gunicorn would listen; None for what is no TCP port, or cannot be told."""
    given = OPTIONS.parse(program.arguments)
    if given["check_config"] or given["print_config"]:
        return
    configured = list_configured(given, program.environment, program.folder, base)
    if configured is None:
        port = program.environment.get("PORT")
        yield parse_bind("127.0.0.1" if port is None else f"0.0.0.0:{port}", DEFAULT_PORT)
    else:
        yield from configured


def list_configured(
    given: Mapping[str, object], environment: Mapping[str, str], folder: Path, base: Path
) -> list[Address | Finding | None] | None:
    """Return what is configured anywhere, named as seen from ``base``; None where nothing is."""
    try:
        inherited = OPTIONS.parse(shlex.split(environment.get(VARIABLE, "")[:LONGEST_LINE]))
    except ValueError:
        return []
    binds = given["bind"] or inherited["bind"]
    if isinstance(binds, list):
        return [parse_bind(each, DEFAULT_PORT) for each in binds]
    location = str(given["config"] or inherited["config"] or "")
    if UNKNOWN in location:
        return []
    if location.startswith("python:"):
        location = location.removeprefix("python:").replace(".", "/") + ".py"
    path = folder / (location.removeprefix("file:") or CONFIGURATION)
    if not location and not os.path.lexists(path):
        return None
    return _read_file(path, environment, base)


def _read_file(
    path: Path, environment: Mapping[str, str], base: Path
) -> list[Address | Finding | None] | None:
    """Return what a configuration file binds; None where it does not say."""
    name = os.path.normpath(path)
    if Path(name).is_relative_to(os.path.normpath(base)):
        name = os.path.relpath(name, base)
    try:
        binds = read_binds(path, environment)
    except UnreadableError as error:
        return [report_unread(name, error)]
    if binds is None:
        reason = "it cannot be told without running that file"
        return [report_unread(f"The bind of {name}", reason)]
    addresses = [(parse_bind(each.address, DEFAULT_PORT), each) for each in binds]
    return [
        address and address._replace(place=Place(name, each.line), text=each.text)
        for address, each in addresses
    ] or None
