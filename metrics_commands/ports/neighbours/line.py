"""Show a line of a file by an allow-list: what is not known to be harmless is ``…``.

The port in it, and the address that it belongs to, are shown as they are; of everything else only
words that are listed here. Whoever writes a line with a secret in it never sees that again.
"""

from __future__ import annotations

import os
import re

from ..command_line import ADDRESS_OPTIONS, DJANGO_SCRIPTS, HIDDEN, INTERPRETER

# Where something stands in a text; None: nowhere.
Span = tuple[int, int] | None

LONGEST_SHOWN = 400
AROUND = 150
SERVERS = {
    "daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "uwsgi", "waitress", "waitress-serve",
}  # fmt: skip
SUBCOMMANDS = {"runmetrics", "runserver", "runserver_plus", "testserver", "migrate"}
STARTERS = {"sh", "bash", "exec", "env", "nohup", "poetry", "pipenv", "uv", "run", "-c", "-m"}
CONFIGURATION = {"bind", "environ", "environ.get", "os.environ", "os.environ.get", "os.getenv"}
KEYS = {
    "command", "entrypoint", "environment", "expose", "network_mode", "ports", "published",
    "services", "target",
}  # fmt: skip
MARKS = {"=", "+=", "+", "-", "--", "PORT", "$PORT"}
KNOWN = SUBCOMMANDS | STARTERS | CONFIGURATION | MARKS | {f"{key}:" for key in KEYS}
PROGRAMS = SERVERS | DJANGO_SCRIPTS
OPTIONS = ADDRESS_OPTIONS | {"--insecure-bind", "PORT", "host_ip:", "published:", "target:"}

WORD = re.compile(r"[^\s'\"\[\](){},;&|<>`]+")
OWN_VARIABLE = re.compile(r"PROMETHEUS_METRICS_EXPORT_(?:ADDRESS|PORT|PORT_RANGE)")
NUMBERS = r"[0-9]{1,5}(?:-[0-9]{1,5})?"
ADDRESS = r"(?:localhost|\*|0|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|::1?)"
HARMLESS = re.compile(rf"{ADDRESS}?:?|(?:{ADDRESS}?:)?{NUMBERS}")
BEFORE = re.compile(
    r"(?<![\w.])(?:tcp://)?(?:(?:localhost|\*|0|[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
    r"|\[[0-9A-Fa-f:.]*\])?:)?(?:\$\{[A-Z][A-Z0-9_]{0,30}:?[-=])?$"
)
AFTER = re.compile(rf"\}}?(?::{NUMBERS}(?![\w.]))?(?:/tcp)?")


def show(text: str, span: Span = None, label: str = "") -> tuple[str, Span]:
    """Return a line as it may be shown, and where the port at ``span`` stands in that.

    ``label`` is a name that the line may begin with, before a colon.
    """
    head = f"{label}:" if label and text.startswith(f"{label}:") else ""
    if span is None:
        return _cut(head + _mask(text[len(head) :]), None)
    start, end = span
    before, after = BEFORE.search(text[max(0, start - 100) : start]), AFTER.match(text, end)
    first = max(len(head), start - len(before[0]) if before else start)
    last = after.end() if after else end
    shown = head + _mask(text[len(head) : first])
    moved = len(shown) + start - first
    whole = shown + text[first:last] + _mask(text[last:])
    return _cut(whole, (moved, moved + end - start))


def write(text: str, span: Span, number: str) -> str:
    """Return a line with something else at ``span``."""
    return text if span is None else text[: span[0]] + number + text[span[1] :]


def _mask(text: str) -> str:
    shown: list[str] = []
    previous, last = "", 0
    for found in WORD.finditer(text):
        between, word = text[last : found.start()], _show_word(found[0], previous)
        if word == HIDDEN and shown and shown[-1] == HIDDEN and between.isspace():
            shown.pop()
            between = ""
        shown += [between, word]
        previous, last = found[0], found.end()
    return "".join([*shown, text[last:]])


def _show_word(word: str, previous: str) -> str:
    if word in KNOWN or (previous in OPTIONS and HARMLESS.fullmatch(word)):
        return word
    option, equals, value = word.partition("=")
    if option in OPTIONS or OWN_VARIABLE.fullmatch(option):
        return word if HARMLESS.fullmatch(value) else f"{option}{equals}{HIDDEN}"
    folder, name = os.path.split(word)
    if name in PROGRAMS or INTERPRETER.fullmatch(name):
        return word if folder in ("", ".", "/") else f"{HIDDEN}/{name}"
    return HIDDEN


def _cut(text: str, span: Span) -> tuple[str, Span]:
    """Return what is around the port, of a line that is too long to be read."""
    if len(text) <= LONGEST_SHOWN:
        return text, span
    start, end = span or (0, 0)
    first = max(0, start - AROUND)
    head = f"{HIDDEN} " if first else ""
    shift = len(head) - first
    shown = f"{head}{text[first : end + AROUND]} {HIDDEN}"
    return shown, (start + shift, end + shift) if span else None
