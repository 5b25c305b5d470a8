"""What a Procfile starts, read as honcho and foreman read it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ...finding import Place
from .file import UnreadableError, read_text, report_unread
from .line import show
from .neighbour import PROCFILE, ExporterLine, Neighbour, Starter, Survey
from .position import Position, locate_all
from .servers import read_command

LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
EXPORT = re.compile(r"\s*export\s+(?=\w+\s*=)")
DEFAULT_OF_PORT = re.compile(r"\$\{PORT:?[-=]")
FIRST_PORT = "5000"
PORTS_BETWEEN = 100
MOST_PROCESSES = 100
LONGEST_LINE = 131_072

Started = TypeVar("Started", Neighbour, ExporterLine)


def read_procfile(path: Path, environment: Mapping[str, str], name: str = "") -> Survey:
    """Return what the lines of a Procfile would listen on, with the ``.env`` beside it.

    Where nothing sets PORT, a line's own default counts: it is what the line gets by hand.
    ``name`` is what to call the file.
    """
    survey = Survey()
    name = name or path.name
    try:
        lines = read_text(path).splitlines()
    except UnreadableError as error:
        survey.findings.append(report_unread(name, error))
        return survey
    base = {**environment, **_read_env(path.with_name(".env"), survey)}
    port = base.get("PORT")
    names: dict[str, int] = {}
    processes = 0
    for number, line in enumerate(lines, start=1):
        found = LINE.match(line)
        if found is None:
            continue
        processes += 1
        if processes > MOST_PROCESSES:
            reason = f"it has more than {MOST_PROCESSES} processes"
            survey.findings.append(report_unread(f"The rest of {name}", reason))
            break
        index = names.setdefault(found[1], len(names))
        given = dict(base)
        if port is not None or not DEFAULT_OF_PORT.search(line):
            given["PORT"] = _add(port or FIRST_PORT, PORTS_BETWEEN * index)
        survey.add(_read_line(found, given, Place(name, number), path.parent))
    return survey


def _read_line(
    line: re.Match[str], environment: Mapping[str, str], place: Place, folder: Path
) -> Survey:
    """Return what one line listens on, and where in it the ports stand."""
    label, text = line[1], show(line[0].strip(), label=line[1])[0]

    def read(texts: Sequence[str]) -> Survey:
        return read_command(texts[0], environment, place, label, folder=folder, text=text)

    found = read([line[2]])
    positions = locate_all(found, [line[2]], read)
    starter = Starter(PROCFILE)

    def mark(each: Started, position: Position | None) -> Started:
        if position is None or each.place != place:
            return replace(each, starter=starter)
        begin = line.start(2)
        span = (begin + position.start, begin + position.end)
        shown, span_shown = show(line[0].strip(), span, label)
        return replace(each, starter=starter, text=shown, span=span_shown)

    servers = [mark(*each) for each in zip(found.neighbours, positions[0], strict=True)]
    exporters = [mark(*each) for each in zip(found.exporters, positions[1], strict=True)]
    return Survey(servers, exporters, found.findings)


def _add(port: str, more: int) -> str:
    # What is no number is no port for the program either.
    return str(int(port) + more) if re.fullmatch(r"[0-9]{1,5}", port.strip()) else port


def _read_env(path: Path, survey: Survey) -> dict[str, str]:
    if not os.path.lexists(path):
        return {}
    try:
        return parse_env(read_text(path))
    except UnreadableError as error:
        survey.findings.append(report_unread(path.name, error))
        return {}


def parse_env(text: str) -> dict[str, str]:
    """Return the variables of a ``.env`` file: KEY=VALUE, with shell quotes and comments."""
    variables: dict[str, str] = {}
    for line in text.splitlines():
        if "=" not in line or len(line) > LONGEST_LINE:
            continue
        try:
            name, equals, *values = shlex.shlex(EXPORT.sub("", line, count=1), posix=True)
        except ValueError:
            continue
        if equals == "=" and values and VARIABLE.match(name):
            variables[name] = "".join(values).replace(r"\n", "\n").replace(r"\t", "\t")
    return variables
