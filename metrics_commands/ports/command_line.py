"""Show another process's command line by an allow-list: what is not known to be harmless is ``…``.

A list of secrets to hide always misses one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HIDDEN = "…"
MOST_PARTS = 30
INTERPRETER = re.compile(r"([Pp]ython|pypy)[0-9.]*t?")
VALUE_OPTION = re.compile(r"-[A-Za-z?]*?([cmWX])(.*)", re.DOTALL)
DJANGO_SCRIPTS = {"manage.py", "django-admin", "django-admin.py", "django"}
PATH = re.compile(r"[\w.+@/-]+")
PROGRAM = re.compile(r"[\w.+-]{1,64}")
MODULE = re.compile(r"[A-Za-z_][\w.]{0,100}")
SUBCOMMAND = re.compile(r"[a-z][a-z0-9_-]{0,50}")
PORT_ONLY = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?")
HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.*-]{0,100})"
HOST_AND_PORT = re.compile(HOST + r":[0-9]{1,5}")
ADDRESS_OPTIONS = {
    "--address", "--bind", "--host", "--http", "--interface", "--listen", "--listen-address",
    "--port", "--port-range", "--web.listen-address", "-H", "-b", "-container-ip",
    "-container-port", "-host-ip", "-host-port", "-p",
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What is started: a program, the script or module it runs, and Django's subcommand.

    Each is ``…`` if it may not be shown. ``script`` is the program itself where that is no
    interpreter, and '' where the process has renamed itself.
    """

    program: str
    script: str
    subcommand: str


def describe(argv: Sequence[str]) -> str:
    """Return a command line with program, script or module, subcommand, addresses and ports."""
    if not argv:
        return HIDDEN
    shown: list[str] = []
    for part in _select(argv):
        if part != HIDDEN or shown[-1:] != [HIDDEN]:
            shown.append(part)
    return " ".join([*shown[:MOST_PARTS], *([HIDDEN] if len(shown) > MOST_PARTS else [])])


def read_start(argv: Sequence[str]) -> Start:
    """Return what a command line starts."""
    return _take_start(list(argv))[1] if argv else Start("", "", "")


def escape(text: str) -> str:
    """Return a text in which nothing can move a cursor or forge a line."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _select(argv: Sequence[str]) -> Iterator[str]:
    """Yield each argument that may be shown, and ``…`` for each that may not."""
    rest = list(argv)
    shown, start = _take_start(rest)
    yield from shown
    if start.subcommand.startswith("runserver") and rest and _is_address(rest[0]):
        yield rest.pop(0)
    yield from _select_addresses(rest)


def _take_start(rest: list[str]) -> tuple[list[str], Start]:
    """Take program, script and subcommand off ``rest``; return what to show, and those."""
    program, whole = _program(rest.pop(0))
    shown = [program] if whole else [program, HIDDEN]
    script, subcommand = program, ""
    if not whole:
        # A title that a process gave itself: its words are no arguments.
        script = ""
    elif INTERPRETER.fullmatch(program):
        more, script = _take_script(rest)
        shown += more
    if script in DJANGO_SCRIPTS and rest and SUBCOMMAND.fullmatch(rest[0]):
        subcommand = rest.pop(0)
        shown.append(subcommand)
    return shown, Start(program, script, subcommand)


def _take_script(rest: list[str]) -> tuple[list[str], str]:
    """Take an interpreter's own arguments off ``rest``; return what to show, and the script."""
    shown: list[str] = []
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            script, whole = _program(argument)
            return [*shown, script, *([] if whole else [HIDDEN])], script
        option = VALUE_OPTION.fullmatch(argument)
        if argument == "-" or argument.startswith("--") or (option and option[1] == "c"):
            # What follows belongs to code without a name, or to an option that is not known here.
            rest.clear()
            return [*shown, HIDDEN], ""
        value = (option[2] or "".join(rest[:1])) if option else ""
        if option and not option[2]:
            del rest[:1]
        if option and option[1] == "m":
            script = value if MODULE.fullmatch(value) else HIDDEN
            return [*shown, "-m", script], script
        shown.append(HIDDEN)
    return shown, ""


def _program(argument: str) -> tuple[str, bool]:
    """Return a program's name without its folder, and whether that is all there was.

    A process may have renamed itself, as gunicorn does: ``gunicorn: master [shop.wsgi]``.
    """
    name = os.path.basename(argument)
    if INTERPRETER.fullmatch(name) or name in DJANGO_SCRIPTS:
        # A name known beforehand is no secret, even in a folder whose name has spaces.
        return name, True
    beginning = PATH.match(argument)
    path = beginning[0] if beginning else ""
    name = os.path.basename(path)
    return (name, path == argument) if PROGRAM.fullmatch(name) else (HIDDEN, False)


def _select_addresses(arguments: list[str]) -> Iterator[str]:
    expects_value = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if expects_value:
            yield argument if _is_address(argument) else HIDDEN
            expects_value = False
        elif option in ADDRESS_OPTIONS and equals:
            yield argument if _is_address(value) else f"{option}={HIDDEN}"
        elif argument in ADDRESS_OPTIONS:
            yield argument
            expects_value = True
        else:
            yield HIDDEN


def _is_address(value: str) -> bool:
    if value in ("localhost", "*") or PORT_ONLY.fullmatch(value) or HOST_AND_PORT.fullmatch(value):
        return True
    try:
        ipaddress.ip_address(value.partition("%")[0])
    except ValueError:
        return False
    return "%" not in value
