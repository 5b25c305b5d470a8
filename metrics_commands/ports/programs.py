"""Programs that people meet on a port, by name, and what to do about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .command_line import read_start


@dataclass(frozen=True)
class Program:
    """A known program: ``advice`` is a sentence with ``{port}`` for the port.

    Where ``ports`` are named, it is known on those alone.
    """

    name: str = ""
    advice: str = ""
    ports: tuple[int, ...] = ()


def _program(name: str, what_frees_the_port: str, ports: tuple[int, ...] = ()) -> Program:
    advice = f"{what_frees_the_port}, or give the exporter another port with --port."
    return Program(name, advice, ports)


UNKNOWN = Program()
SITE = "It serves a site; give the exporter another port with --port."
RUNSERVER = Program("runserver", SITE)
RUNMETRICS = Program("runmetrics", "Stop that exporter, or give this one another port with --port.")
DOCKER = "A container publishes it (`docker ps --filter publish={port}` names it); stop that one"
PODMAN = "A container publishes it (`podman ps --filter publish={port}` names it); stop that one"
SOCKET_UNIT = (
    "A .socket unit holds it (`systemctl list-sockets` names it, with --user for a user's own);"
    " stop that one"
)
AIRPLAY = "It is the AirPlay Receiver; switch it off in System Settings, General, AirDrop & Handoff"
AIRPLAY_PORTS = (5000, 7000)
LISTEN_ADDRESS = "Move it with its option --web.listen-address"

PROGRAMS = {
    "gunicorn": Program("gunicorn", SITE),
    "uvicorn": Program("uvicorn", SITE),
    "daphne": Program("daphne", SITE),
    "hypercorn": Program("hypercorn", SITE),
    "granian": Program("granian", SITE),
    "uwsgi": Program("uwsgi", SITE),
    "waitress": Program("waitress", SITE),
    "waitress-serve": Program("waitress", SITE),
    "nginx": _program("nginx", "Change its `listen` lines"),
    "apache2": _program("apache", "Change its `Listen` lines"),
    "httpd": _program("apache", "Change its `Listen` lines"),
    "haproxy": _program("haproxy", "Change its `bind` lines"),
    "caddy": _program("caddy", "Change the addresses in its Caddyfile"),
    "traefik": _program("traefik", "Change its `entryPoints`"),
    "prometheus": _program("prometheus", LISTEN_ADDRESS),
    "alertmanager": _program("alertmanager", LISTEN_ADDRESS),
    "prometheus-alertmanager": _program("alertmanager", LISTEN_ADDRESS),
    "pushgateway": _program("pushgateway", LISTEN_ADDRESS),
    "prometheus-pushgateway": _program("pushgateway", LISTEN_ADDRESS),
    "node_exporter": _program("node_exporter", LISTEN_ADDRESS),
    "prometheus-node-exporter": _program("node_exporter", LISTEN_ADDRESS),
    "grafana": _program("grafana", "Change `http_port` in its grafana.ini"),
    "grafana-server": _program("grafana", "Change `http_port` in its grafana.ini"),
    "postgres": _program("postgres", "Change `port` in its postgresql.conf"),
    "mysqld": _program("mysqld", "Change `port` in its my.cnf"),
    "mariadbd": _program("mariadbd", "Change `port` in its my.cnf"),
    "redis-server": _program("redis-server", "Change `port` in its redis.conf"),
    "valkey-server": _program("valkey-server", "Change `port` in its valkey.conf"),
    "memcached": _program("memcached", "Move it with its option -p"),
    "docker-proxy": _program("docker-proxy", DOCKER),
    "com.docker.backend": _program("docker", DOCKER),
    "rootlessport": _program("podman", PODMAN),
    "systemd": _program("systemd", SOCKET_UNIT),
    "ssh": _program("ssh", "It is an SSH tunnel; end that one"),
    "kubectl": _program("kubectl", "It forwards a port into a cluster; end that"),
    "ControlCenter": _program("AirPlay", AIRPLAY, AIRPLAY_PORTS),
    "AirPlayXPCHelper": _program("AirPlay", AIRPLAY, AIRPLAY_PORTS),
}


def recognise(argv: Sequence[str], process_name: str, port: int = 0) -> Program:
    """Return what a process is by its command line, else by the name that the system has."""
    start = read_start(argv)
    if start.subcommand.startswith("runserver"):
        return RUNSERVER
    if start.subcommand == "runmetrics":
        return RUNMETRICS
    for name in (start.script, start.program, process_name):
        program = PROGRAMS.get(name, UNKNOWN)
        if program.name and (not program.ports or port in program.ports):
            return program
    return UNKNOWN


def name(argv: Sequence[str], process_name: str) -> str:
    """Return the shortest name that tells what a process is."""
    start = read_start(argv)
    return recognise(argv, process_name).name or start.script or start.program
