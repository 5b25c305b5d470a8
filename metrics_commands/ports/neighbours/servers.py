"""What a command line listens on, for the programs that serve Django and for ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...finding import Finding, Place
from . import gunicorn
from .bind import Address, make_address, parse_bind, parse_endpoint
from .neighbour import HOST_NETWORK, ExporterLine, Neighbour, Survey
from .options import Options, WrongUsageError
from .programs import Program, find_programs

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
ALIASES = {
    "gunicorn.app.wsgiapp": "gunicorn",
    "waitress-serve": "waitress",
    "uvicorn.main": "uvicorn",
}
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
            "telemetry_path",
        )
    },
    several={"address": "--address"},
    rivals="--pythonpath --settings --traceback",
    flags="--once",
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
    """Return what a shell line, or an argv, would listen on, run in ``folder``."""
    text = text or (command if isinstance(command, str) else " ".join(command))
    survey = Survey()
    ports: list[str] = []
    known = False
    for program in find_programs(command, environment, folder):
        title, listen = _recognise(program)
        if title == "runmetrics":
            survey.exporters += _read_exporter(program, place, text, network)
        elif listen:
            found = _ask(listen, program, folder)
            survey.findings += [each for each in found if isinstance(each, Finding)]
            survey.neighbours += [
                Neighbour(
                    f"{title} of '{label}'",
                    each.place or place,
                    each.text or text,
                    each.host,
                    each.port,
                    network,
                )
                for each in dict.fromkeys(found)
                if isinstance(each, Address)
            ]
        known = known or bool(title)
        ports += [program.used["PORT"]] if "PORT" in program.used else []
    if not known:
        addresses = dict.fromkeys(make_address("0.0.0.0", port) for port in ports)
        survey.neighbours += [
            Neighbour(f"'{label}'", place, text, each.host, each.port, network)
            for each in addresses
            if each
        ]
    return survey


def _recognise(program: Program) -> tuple[str, Listen | None]:
    """Return what to call a program, and how to tell where it listens; '' where not known."""
    if program.name == "django":
        subcommand = next(iter(program.arguments), "")
        if subcommand == "runmetrics":
            return subcommand, None
        return (subcommand, listen_runserver) if subcommand in RUNSERVER else ("", None)
    name = ALIASES.get(program.name, program.name)
    return (name, SERVERS[name]) if name in SERVERS else ("", None)


def _ask(listen: Listen, program: Program, base: Path) -> list[Address | Finding]:
    try:
        return [each for each in listen(program, base) if each is not None]
    except WrongUsageError:
        return []


def _read_exporter(program: Program, place: Place, text: str, network: str) -> list[ExporterLine]:
    try:
        given = RUNMETRICS.parse(program.arguments[1:])
    except WrongUsageError:
        return []
    if given.pop("once"):
        return []
    names = [*RUNMETRICS.single, *RUNMETRICS.several]
    options = {name: given[name] for name in names if given[name] is not None}
    return [ExporterLine(place, text, options, program.environment, network)]
