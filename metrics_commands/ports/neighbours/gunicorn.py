"""What gunicorn binds: its arguments, then GUNICORN_CMD_ARGS, then its file, then its default."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...finding import Finding, Place
from .bind import Address, parse_bind
from .file import UnreadableError, read_text, report_unread
from .gunicorn_conf import parse_binds
from .line import Span, show
from .options import Options
from .position import locate
from .programs import Program
from .shell import LONGEST_LINE, UNKNOWN

CONFIGURATION = "gunicorn.conf.py"
VARIABLE = "GUNICORN_CMD_ARGS"
DEFAULT_PORT = 8000
FILE_NAME = re.compile(r"[\w./-]{1,120}\.py")
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
    if not FILE_NAME.fullmatch(name):
        # A variable may have put anything there.
        name = "The configuration file of gunicorn"
    try:
        source = read_text(path)
        binds = parse_binds(source, environment)
    except UnreadableError as error:
        return [report_unread(name, error)]
    if binds is None:
        reason = "it cannot be told without running that file"
        return [report_unread(f"The bind of {name}", reason)]
    found = [parse_bind(each.address, DEFAULT_PORT) for each in binds]
    addresses: list[Address | Finding | None] = []
    for index, (address, each) in enumerate(zip(found, binds, strict=True)):
        text, span = show(each.text, _locate(source, index, each.line, found, environment))
        place = Place(name, each.line)
        addresses.append(address and address._replace(place=place, text=text, span=span))
    return addresses or None


def _locate(
    source: str,
    index: int,
    line: int,
    found: Sequence[Address | None],
    environment: Mapping[str, str],
) -> Span:
    """Return where the port of one of the addresses stands in its line, without its margin."""
    lines = re.split(r"\r\n|\r|\n", source)
    address = found[index]
    if address is None or line > len(lines):
        return None

    def moves(changed: Sequence[str], other: str) -> bool:
        whole = "\n".join([*lines[: line - 1], *changed, *lines[line:]])
        try:
            binds = parse_binds(whole, environment) or []
        except UnreadableError:
            return False
        moved = address._replace(port=int(other))
        expected = [*found[:index], moved, *found[index + 1 :]]
        return [parse_bind(each.address, DEFAULT_PORT) for each in binds] == expected

    place = locate([lines[line - 1]], str(address.port), moves)
    margin = len(lines[line - 1]) - len(lines[line - 1].lstrip())
    return (place.start - margin, place.end - margin) if place else None
