"""Find the program that a command line starts, behind the wrappers that people put before it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..command_line import DJANGO_SCRIPTS, INTERPRETER, VALUE_OPTION
from . import shell

# A shell may be given a variable that starts it again.
MOST_SHELLS = 20
MOST_WRAPPERS = 20
MOST_WORDS = 500
SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh"}
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Program:
    """A program as it would be started; ``used`` has the variables that its line expanded.

    ``is_script`` tells that it is a file of the project's own, which may start others.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    used: Mapping[str, str]
    is_script: bool = False


@dataclass(frozen=True)
class Wrapper:
    """A program that starts another: what of its own stands before that one."""

    subcommand: str = ""
    values: tuple[str, ...] = ()
    arguments: int = 0


RUN = Wrapper("run")
WRAPPERS = {
    "chpst": Wrapper(values=("-u", "-U", "-b", "-e", "-d", "-l", "-L", "-m", "-o", "-p", "-f")),
    "ddtrace-run": Wrapper(),
    "doppler": Wrapper("run", ("-p", "--project", "-c", "--config", "-t", "--token")),
    "dotenv": Wrapper("run", ("-f", "--file")),
    "dumb-init": Wrapper(values=("-r", "--rewrite")),
    "env": Wrapper(values=("-u", "--unset", "-C", "--chdir")),
    "exec": Wrapper(values=("-a",)),
    "foreman": RUN,
    "gosu": Wrapper(arguments=1),
    "hatch": Wrapper("run", ("-e", "--env", "-p", "--project")),
    "honcho": Wrapper("run", ("-e", "--env", "-d", "--app-root", "-f", "--procfile")),
    "ionice": Wrapper(values=("-c", "-n", "--class", "--classdata")),
    "newrelic-admin": Wrapper("run-program"),
    "nice": Wrapper(values=("-n", "--adjustment")),
    "nohup": Wrapper(),
    "opentelemetry-instrument": Wrapper(
        values=(
            "--exporter_otlp_endpoint", "--exporter_otlp_protocol", "--logs_exporter",
            "--metrics_exporter", "--propagators", "--resource_attributes", "--service_name",
            "--traces_exporter", "--traces_sampler",
        )
    ),
    "pdm": Wrapper("run", ("-p", "--project")),
    "pipenv": RUN,
    "poetry": Wrapper("run", ("-C", "--directory", "-P", "--project")),
    "s6-setuidgid": Wrapper(arguments=1),
    "setsid": Wrapper(),
    "stdbuf": Wrapper(values=("-i", "-o", "-e")),
    "su-exec": Wrapper(arguments=1),
    "sudo": Wrapper(values=("-u", "--user", "-g", "--group", "-h", "-p", "-C", "-D")),
    "time": Wrapper(),
    "timeout": Wrapper(values=("-k", "--kill-after", "-s", "--signal"), arguments=1),
    "tini": Wrapper(values=("-p", "-e")),
    "uv": Wrapper(
        "run",
        (
            "--directory", "--env-file", "--extra", "--group", "--index", "--only-group",
            "--package", "--project", "--python", "--with", "--with-editable",
            "--with-requirements", "-p", "-w",
        ),
    ),
}  # fmt: skip


@dataclass
class _Start:
    """What is left of a command after some of its wrappers."""

    words: list[str]
    environment: dict[str, str]
    folder: Path
    used: Mapping[str, str] = field(default_factory=dict)


def find_programs(
    command: str | Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[Program]:
    """Yield each program that a shell line, or an argv, starts."""
    shells = iter(range(MOST_SHELLS))
    if isinstance(command, str):
        yield from _find_in_line(command, environment, folder, {}, shells)
    elif sum(map(len, command)) <= shell.LONGEST_LINE:
        yield from _find_in_words(_Start(list(command), dict(environment), folder), shells)


def _find_in_line(
    line: str,
    environment: Mapping[str, str],
    folder: Path,
    used: Mapping[str, str],
    shells: Iterator[int],
) -> Iterator[Program]:
    if next(shells, None) is None:
        return
    for each in shell.split(line, environment):
        if each.words[0] == "cd" and len(each.words) == 2:
            folder = folder / each.words[1]
            continue
        start = _Start(each.words, each.environment, folder, {**used, **each.used})
        yield from _find_in_words(start, shells)


def _find_in_words(start: _Start, shells: Iterator[int]) -> Iterator[Program]:
    words = start.words
    del words[MOST_WORDS:]
    for _ in range(MOST_WRAPPERS):
        if not words:
            return
        word = words.pop(0)
        name = os.path.basename(word)
        if name in WRAPPERS:
            if not _unwrap(WRAPPERS[name], start):
                return
            if name == "uv" and words[:1] and words[0] in ("-m", "--module"):
                del words[0]
        elif INTERPRETER.fullmatch(name):
            module = _skip_to_module(words)
            if module:
                words.insert(0, module)
        elif name in SHELLS:
            script = _find_script(words)
            if script is not None:
                yield from _find_in_line(
                    script, start.environment, start.folder, start.used, shells
                )
            return
        else:
            name = "django" if name in DJANGO_SCRIPTS else name
            is_script = word.startswith(("/", "./")) or name.endswith(".sh")
            yield Program(name, words, start.environment, start.folder, start.used, is_script)
            return


def find_server(program: Program, names: Collection[str]) -> Program | None:
    """Return the program of one of these names, or of Django, that another one is told to start."""
    words = list(program.arguments[:MOST_WORDS])
    for index, word in enumerate(words):
        name = os.path.basename(word)
        if name in names or name in DJANGO_SCRIPTS:
            name = "django" if name in DJANGO_SCRIPTS else name
            return replace(program, name=name, arguments=words[index + 1 :], is_script=False)
    return None


def _unwrap(wrapper: Wrapper, start: _Start) -> bool:
    """Take a wrapper's own words off; tell whether it starts another program at all."""
    words = start.words
    _skip_options(words, wrapper.values)
    if wrapper.subcommand:
        if not words or words.pop(0) != wrapper.subcommand:
            return False
        _skip_options(words, wrapper.values)
    del words[: wrapper.arguments]
    if words[:1] == ["--"]:
        del words[0]
    while words and (assignment := ASSIGNMENT.fullmatch(words[0])):
        start.environment[assignment[1]] = assignment[2]
        del words[0]
    return bool(words)


def _skip_options(words: list[str], values: tuple[str, ...]) -> None:
    skipped = 0
    while skipped < len(words) and words[skipped].startswith("-"):
        option = words[skipped]
        if option in ("-m", "--module") and option not in values:
            break
        skipped += 2 if option in values else 1
        if option == "--":
            break
    del words[:skipped]


def _skip_to_module(words: list[str]) -> str:
    """Take an interpreter's own options off; return what ``-m`` names, or '' for a script."""
    while words and words[0].startswith("-"):
        option = VALUE_OPTION.fullmatch(words.pop(0))
        if not option:
            continue
        value = option[2] or (words.pop(0) if words else "")
        if option[1] == "c":
            words.clear()
        if option[1] == "m":
            return value
    return ""


def _find_script(words: list[str]) -> str | None:
    """Return the script that a shell is given by ``-c``."""
    has_script = False
    while words and words[0][:1] in ("-", "+"):
        option = words.pop(0)
        if not option.startswith("--"):
            has_script = has_script or "c" in option
            if option.endswith("o"):
                del words[:1]
    return words[0] if has_script and words else None
