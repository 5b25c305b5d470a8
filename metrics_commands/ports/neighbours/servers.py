"""What a command line listens on, for the programs that serve Django and for ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...finding import Finding, Place, make_id
from . import gunicorn, shell
from .bind import Address, make_address, parse_bind, parse_endpoint
from .line import show
from .neighbour import HOST_NETWORK, ExporterLine, Neighbour, Survey
from .options import Options, WrongUsageError
from .programs import Program, find_programs, find_server

ADDRESS_AND_PORT = re.compile(r"(?:([\w.-]+|\[[0-9A-Fa-f:]+\]):)?([0-9]+)", re.ASCII)
OF_DJANGO = {"settings": "--settings", "pythonpath": "--pythonpath", "verbosity": "-v --verbosity"}

Listen = Callable[[Program, Path], Iterable[Address | Finding | None]]


@dataclass(frozen=True)
class Server:
    """How one server is told where to listen, and where it does untold.

    Of its options, ``bind`` takes whole addresses, ``tls_bind`` too where there is a ``certfile``;
    ``uds`` and ``fd`` are used instead of a port; what a ``config`` says is not known.
    """

    options: Options
    host: str = "127.0.0.1"
    port: int = 8000
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, program: Program, base: Path) -> Iterable[Address | None]:
        """Return where it would listen; None for what is no TCP port, or cannot be told."""
        given = self.options.parse(program.arguments)
        for name, variable in self.environment.items():
            if given[name] is None:
                given[name] = program.environment.get(variable) or None
        if given.get("uds") or given.get("fd"):
            return []
        binds = [
            each.partition(",")[0] for bind in given.get("bind") or () for each in bind.split()
        ]
        if given.get("certfile"):
            binds += given.get("tls_bind") or ()
        if binds or given.get("config"):
            return [parse_bind(each, self.port) for each in binds]
        host, port = given.get("host"), given.get("port")
        host = self.host if host is None else host.strip("[]")
        return [make_address(host, f"{self.port}" if port is None else port)]


def listen_daphne(program: Program, base: Path) -> Iterable[Address | None]:
    """Return where daphne would listen: its endpoints add to its host and port."""
    given = DAPHNE.parse(program.arguments)
    addresses = [parse_endpoint(each) for each in given["endpoint"] or ()]
    if given["host"] or given["port"] or not any(given.values()):
        host = (given["host"] or "127.0.0.1").strip("[]")
        addresses.append(make_address(host, given["port"] or "8000"))
    return addresses


def listen_runserver(program: Program, base: Path) -> Iterable[Address | None]:
    """Return where one of Django's development servers would listen."""
    given = RUNSERVER[program.arguments[0]].parse(program.arguments[1:])
    found = ADDRESS_AND_PORT.fullmatch(given["addrport"] or "8000")
    if found is None:
        return []
    default = "::1" if given["6"] or given["ipv6"] else "127.0.0.1"
    return [make_address((found[1] or default).strip("[]"), found[2])]


DAPHNE = Options(
    single={"host": "-b --bind", "port": "-p --port", "uds": "-u --unix-socket", "fd": "--fd"},
    several={"endpoint": "-e --endpoint"},
    rivals="--ping-interval --proxy-headers",
)
SERVERS: Mapping[str, Listen] = {
    "daphne": listen_daphne,
    "granian": Server(
        Options(
            single={"host": "--host", "port": "--port", "uds": "--uds"},
            abbreviated=False,
        ),
        environment={"host": "GRANIAN_HOST", "port": "GRANIAN_PORT", "uds": "GRANIAN_UDS"},
    ),
    "gunicorn": gunicorn.listen,
    "hypercorn": Server(
        Options(
            single={"config": "-c --config", "certfile": "--certfile"},
            several={"bind": "-b --bind", "tls_bind": "--insecure-bind"},
            rivals="--backlog --cert-reqs --ciphers",
            flags="-D",
        )
    ),
    "uvicorn": Server(
        Options(
            single={"host": "--host", "port": "--port", "uds": "--uds", "fd": "--fd"},
            abbreviated=False,
        ),
        environment={
            "host": "UVICORN_HOST",
            "port": "UVICORN_PORT",
            "uds": "UVICORN_UDS",
            "fd": "UVICORN_FD",
        },
    ),
    # A name without a port is the path of a Unix socket to it.
    "uwsgi": Server(
        Options(
            several={
                "bind": "-s --socket --uwsgi-socket --http --http-socket --http11-socket --https"
                " --https-socket"
            }
        ),
        host="",
        port=0,
    ),
    "waitress": Server(
        Options(
            single={"host": "--host", "port": "--port", "uds": "--unix-socket"},
            several={"bind": "--listen"},
            rivals="--help --log-socket-errors --unix-socket-perms",
        ),
        host="0.0.0.0",
        port=8080,
    ),
}
# Their arguments name programs without starting them.
NO_STARTERS = {
    "apk", "apt", "apt-get", "awk", "brew", "cat", "cd", "chmod", "chown", "command", "conda", "cp",
    "curl", "django", "docker", "echo", "git", "grep", "kill", "killall", "ls", "mkdir", "mv",
    "npm", "pgrep", "pip", "pip3", "pipx", "pkill", "poetry", "printf", "ps", "rm", "sed",
    "service", "supervisorctl", "systemctl", "test", "touch", "type", "uv", "which",
    "yarn", "[", "[[",
}  # fmt: skip
ALIASES = {
    "gunicorn.app.wsgiapp": "gunicorn",
    "waitress-serve": "waitress",
    "uvicorn.main": "uvicorn",
}
KNOWN_NAMES = SERVERS.keys() | ALIASES.keys()
RUNSERVER = {
    "runserver": Options(OF_DJANGO, flags="-6 --ipv6", argument="addrport"),
    "runserver_plus": Options(
        OF_DJANGO
        | {name: f"--{name}" for name in ("cert", "cert-file", "key-file", "key", "output")}
        | {name: f"--{name}" for name in ("extra-file", "reloader-interval", "reloader-type")},
        flags="-6 --ipv6",
        argument="addrport",
    ),
    "testserver": Options({"addrport": "--addrport"}, flags="-6 --ipv6"),
}
RUNMETRICS = Options(
    single={
        name: f"--{name.replace('_', '-')}"
        for name in (
            "port", "port_range", "port_wait", "metrics_dir", "sd_file", "advertise",
            "telemetry_path", "max_requests",
        )
    }
    | {"web_config_file": "--web-config-file --web.config.file"},
    several={"address": "--address"},
    rivals="--pythonpath --settings --traceback",
    flags="--once --open-health --access-log",
)  # fmt: skip


def read_command(  # noqa: PLR0913
    command: str | Sequence[str],
    environment: Mapping[str, str],
    place: Place,
    label: str,
    *,
    folder: Path,
    network: str = HOST_NETWORK,
    text: str = "",
) -> Survey:
    """Return what a shell line, or an argv, would listen on, run in ``folder``.

    ``text`` is the line as it may be shown.
    """
    text = text or show(command if isinstance(command, str) else " ".join(command))[0]
    reading = _Reading(place, label, text, network, folder)
    for program in find_programs(command, environment, folder):
        reading.add(program)
    reading.finish()
    return reading.survey


@dataclass
class _Reading:
    """Collects what the programs of one line listen on."""

    place: Place
    label: str
    text: str
    network: str
    folder: Path
    survey: Survey = field(default_factory=Survey)
    presumed: list[Program] = field(default_factory=list)
    known: bool = False

    def add(self, program: Program) -> None:
        """Add a program; one that is not known may still start one that is."""
        title, listen = _recognise(program)
        if not title and program.name not in NO_STARTERS:
            program = find_server(program, KNOWN_NAMES) or program
            title, listen = _recognise(program)
        if title == "runmetrics":
            self.add_exporter(program)
        elif listen:
            self.add_server(title, listen, program)
        else:
            self.presumed.append(program)
        self.known = self.known or bool(title)

    def add_server(self, title: str, listen: Listen, program: Program) -> None:
        try:
            found = [*listen(program, self.folder)]
        except WrongUsageError:
            found = [None]
        addresses = [each for each in dict.fromkeys(found) if isinstance(each, Address)]
        self.survey.findings += [each for each in found if isinstance(each, Finding)]
        for each in addresses:
            self.add_neighbour(f"{title} of '{self.label}'", each, program)
        # A Unix socket or a port that the kernel chooses is understood, and no TCP port.
        if None in found and not addresses and _has_gaps(program):
            self.say_unknown(title)

    def add_neighbour(self, what: str, address: Address, program: Program) -> None:
        place, text = address.place or self.place, address.text or self.text
        self.survey.neighbours.append(
            Neighbour(
                what,
                place,
                text,
                address.host,
                address.port,
                self.network,
                span=address.span,
                environment=program.environment,
            )
        )

    def add_exporter(self, program: Program) -> None:
        try:
            given = RUNMETRICS.parse(program.arguments[1:])
        except WrongUsageError:
            self.say_unknown("runmetrics")
            return
        if given.pop("once"):
            return
        names = [*RUNMETRICS.single, *RUNMETRICS.several]
        options = {name: given[name] for name in names if given[name] is not None}
        if _has_gaps(program) and not (options.get("port", "0") and options.get("port_range", "0")):
            self.say_unknown("runmetrics")
            return
        line = ExporterLine(self.place, self.text, options, program.environment, self.network)
        self.survey.exporters.append(line)

    def finish(self) -> None:
        """Presume that a program which nobody knows listens on the PORT that it is given."""
        if self.known:
            return
        ports = {each.used["PORT"]: each for each in self.presumed if "PORT" in each.used}
        for port, program in ports.items():
            address = make_address("0.0.0.0", port)
            if address:
                self.add_neighbour(f"'{self.label}'", address, program)
        if not ports and any(each.is_script for each in self.presumed):
            self.say_unknown("a script")

    def say_unknown(self, title: str) -> None:
        what = f"{self.place}: {title} of '{self.label}' was not understood"
        why = "A script may start anything, and a variable that is not set has no port."
        self.survey.findings.append(Finding(make_id(19), "info", f"{what}.", why))


def _has_gaps(program: Program) -> bool:
    """Tell whether a part of a command cannot be known here: a variable, or what only runs."""
    unknown = any(shell.UNKNOWN in each for each in program.arguments)
    return unknown or not all(program.used.values())


def _recognise(program: Program) -> tuple[str, Listen | None]:
    """Return what to call a program, and how to tell where it listens; '' where not known."""
    if program.name == "django":
        subcommand = next(iter(program.arguments), "")
        if subcommand == "runmetrics":
            return subcommand, None
        return (subcommand, listen_runserver) if subcommand in RUNSERVER else ("", None)
    name = ALIASES.get(program.name, program.name)
    return (name, SERVERS[name]) if name in SERVERS else ("", None)
