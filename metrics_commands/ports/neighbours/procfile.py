"""What a Procfile starts, read as honcho and foreman read it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from ...finding import Place
from .file import UnreadableError, read_text, report_unread
from .neighbour import Survey
from .servers import read_command

LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
EXPORT = re.compile(r"\s*export\s+(?=\w+\s*=)")
DEFAULT_OF_PORT = re.compile(r"\$\{PORT:?[-=]")
FIRST_PORT = "5000"
PORTS_BETWEEN = 100
MOST_PROCESSES = 100
LONGEST_LINE = 131_072


def read_procfile(path: Path, environment: Mapping[str, str]) -> Survey:
    """Return what the lines of a Procfile would listen on, with the ``.env`` beside it.

    Where nothing sets PORT, a line's own default counts: it is what the line gets by hand.
    """
    survey = Survey()
    try:
        lines = read_text(path).splitlines()
    except UnreadableError as error:
        survey.findings.append(report_unread(path.name, error))
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
            survey.findings.append(report_unread(f"The rest of {path.name}", reason))
            break
        index = names.setdefault(found[1], len(names))
        given = dict(base)
        if port is not None or not DEFAULT_OF_PORT.search(line):
            given["PORT"] = _add(port or FIRST_PORT, PORTS_BETWEEN * index)
        place = Place(path.name, number)
        survey.add(
            read_command(found[2], given, place, found[1], folder=path.parent, text=line.strip())
        )
    return survey


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
