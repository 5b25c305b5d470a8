"""Variables as compose files and their ``.env`` write them: ``$X``, ``${X:-word}``, ``$$``."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping

LONGEST_VALUE = 16_384
DEEPEST_DEFAULT = 20
SPECIAL = re.compile(r"[$}]")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OPERATOR = re.compile(r":?[-?+]")
ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][\w.-]*)\s*(?:(=)\s*(.*))?", re.DOTALL)
QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)\"""", re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "$": "$$"}
COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Return text with its variables replaced once; ValueError for what compose refuses too."""
    return _expand(text, 0, variables, 0)[0]


def _expand(text: str, start: int, variables: Mapping[str, str], depth: int) -> tuple[str, int]:
    """Expand from ``start`` to the end, or inside of braces to the one that closes them."""
    if depth > DEEPEST_DEFAULT:
        raise ValueError("too many defaults inside each other")
    parts: list[str] = []
    size = 0
    while True:
        special = SPECIAL.search(text, start)
        end = special.start() if special else len(text)
        parts.append(text[start:end])
        if special is None:
            if depth:
                raise ValueError("a brace is not closed")
            return "".join(parts), end
        if special[0] == "}" and depth:
            return "".join(parts), end
        value, start = (
            ("}", end + 1) if special[0] == "}" else _variable(text, end + 1, variables, depth)
        )
        parts.append(value)
        size += len(value)
        if size > LONGEST_VALUE:
            raise ValueError("too long")


def _variable(text: str, start: int, variables: Mapping[str, str], depth: int) -> tuple[str, int]:
    """Return the value of the variable after a ``$``, and where the text goes on."""
    if text.startswith("$", start):
        return "$", start + 1
    braced = text.startswith("{", start)
    name = NAME.match(text, start + braced)
    if name is None:
        raise ValueError("no name after $")
    value = variables.get(name[0])
    if not braced:
        return value or "", name.end()
    operator = OPERATOR.match(text, name.end())
    if operator is None:
        if not text.startswith("}", name.end()):
            raise ValueError("a brace is not closed")
        return value or "", name.end() + 1
    word, end = _expand(text, operator.end(), variables, depth + 1)
    given = bool(value) if operator[0].startswith(":") else value is not None
    if operator[0].endswith("+"):
        return (word if given else ""), end + 1
    return (value or "" if given or operator[0].endswith("?") else word), end + 1


def read_variables(text: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return what the ``NAME=VALUE`` lines of a ``.env`` file set; a bare name is inherited."""
    found: dict[str, str] = {}
    known = ChainMap(dict(variables), found)
    for line in text.splitlines():
        assignment = ASSIGNMENT.fullmatch(line.strip())
        if assignment is None:
            continue
        name, equals, value = assignment.groups()
        if equals:
            found[name] = _read_value(value, known)
        elif name in variables:
            found[name] = variables[name]
    return found


def _read_value(value: str, variables: Mapping[str, str]) -> str:
    quoted = QUOTED.match(value)
    if quoted is None:
        value = COMMENT.sub("", value, count=1).rstrip()
    elif quoted[1] is not None:
        return quoted[1]
    else:
        value = ESCAPE.sub(lambda match: ESCAPED.get(match[1], match[1]), quoted[2])
    try:
        return interpolate(value, variables)
    except ValueError:
        return value
