"""What is known of port numbers: who else uses them, and where they give trouble."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path

from ..finding import Change, Finding, make_id
from .probe import FIRST_UNPRIVILEGED

HIGHEST = 65535
MOST_SPANS = 50
SETTINGS = Path("/proc/sys/net/ipv4")
# IANA's range, which macOS and the BSDs use.
DYNAMIC_PORTS = range(49152, HIGHEST + 1)

# The fetch standard's "bad ports": a browser shows an error instead of the page.
REFUSED_BY_BROWSERS = frozenset(
    (1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
     103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
     512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
     995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
     6669, 6679, 6697, 10080)
)  # fmt: skip

# From the Prometheus project's table of default ports, and what stands beside Django.
KNOWN_USERS = {
    3000: "Grafana", 5432: "PostgreSQL", 6379: "Redis",
    8000: "runserver, gunicorn and uvicorn", 8080: "cAdvisor and many web servers",
    9090: "Prometheus", 9091: "the Pushgateway", 9093: "Alertmanager", 9094: "Alertmanager",
    9100: "node_exporter", 9101: "haproxy_exporter", 9102: "statsd_exporter",
    9103: "collectd_exporter", 9104: "mysqld_exporter", 9106: "cloudwatch_exporter",
    9107: "consul_exporter", 9108: "graphite_exporter", 9113: "nginx-prometheus-exporter",
    9114: "elasticsearch_exporter", 9115: "blackbox_exporter", 9116: "snmp_exporter",
    9117: "apache_exporter", 9119: "bind_exporter", 9121: "redis_exporter",
    9125: "statsd_exporter", 9127: "pgbouncer_exporter", 9150: "memcached_exporter",
    9153: "CoreDNS", 9154: "postfix_exporter", 9182: "windows_exporter",
    9187: "postgres_exporter", 9200: "Elasticsearch", 9216: "mongodb_exporter",
    9238: "uwsgi_exporter", 9253: "php-fpm_exporter", 9256: "process-exporter",
    9290: "ipmi_exporter", 9300: "Elasticsearch", 9308: "kafka_exporter",
    9394: "Ruby's prometheus_exporter", 9419: "rabbitmq_exporter", 9558: "systemd_exporter",
    9726: "rq-exporter", 9808: "celery-exporter", 10050: "the Zabbix agent",
    10051: "the Zabbix server", 10250: "the kubelet", 15692: "RabbitMQ",
}  # fmt: skip

Move = Callable[[], tuple[Change, ...]]


def judge_numbers(ports: Collection[int], move: Move) -> Iterator[Finding]:
    """Yield what is to be said of port numbers alone; ``move`` makes the line for better ones."""
    ports = [port for port in ports if port]
    if not ports:
        return
    better = move()
    privileged = [port for port in ports if port < FIRST_UNPRIVILEGED]
    if privileged:
        yield Finding(
            make_id(10),
            "warning",
            f"Ports below {FIRST_UNPRIVILEGED} need privileges: {list_ports(privileged)}.",
            "An exporter needs no privileges otherwise, and is safer without.",
            better,
        )
    refused = sorted(REFUSED_BY_BROWSERS & set(ports))
    if refused:
        yield Finding(
            make_id(11),
            "warning",
            f"Browsers refuse these ports: {list_ports(refused)}.",
            "Prometheus scrapes them, but nobody can look at the page in a browser.",
            better,
        )
    known = [port for port in ports if port in KNOWN_USERS]
    if known:
        users = ", ".join(f"{port} ({KNOWN_USERS[port]})" for port in known)
        yield Finding(
            make_id(12),
            "info",
            f"Ports that others use by default: {users}.",
            "One of them may be started on this machine some day.",
            better,
        )


def judge_ephemeral(ports: Collection[int], move: Move) -> Iterator[Finding]:
    """Yield whether outgoing connections may take one of the ports; it asks the system."""
    dynamic = read_ephemeral_range()
    overlap = sorted(set(ports) & set(dynamic) - read_reserved_ports())
    if overlap:
        yield Finding(
            make_id(14),
            "warning",
            f"The system gives these ports to outgoing connections: {list_ports(overlap)}"
            f" (it uses {dynamic.start}-{dynamic.stop - 1}).",
            "Any program's connection may have taken the port just when the exporter starts.",
            move(),
        )


def read_ephemeral_range() -> range:
    """Return the ports from which the system chooses for outgoing connections."""
    if not sys.platform.startswith("linux"):
        return DYNAMIC_PORTS
    try:
        first, last = map(int, (SETTINGS / "ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return range(0)
    return range(first, last + 1)


def read_reserved_ports() -> set[int]:
    """Return the ports of that range that an administrator has kept out of it."""
    try:
        written = (SETTINGS / "ip_local_reserved_ports").read_text()
    except OSError:
        return set()
    ends = re.findall(r"(\d+)(?:-(\d+))?", written)
    return set(chain.from_iterable(range(int(a), int(b or a) + 1) for a, b in ends))


def choose_number(near: int, taken: Iterable[int], count: int = 1) -> int | None:
    """Return the next port after ``near`` that begins ``count`` ports nothing speaks against."""
    end = HIGHEST + 1
    avoided = {*taken, *REFUSED_BY_BROWSERS, *KNOWN_USERS, end}
    dynamic = read_ephemeral_range()
    good = 0
    for port in chain(range(max(near, FIRST_UNPRIVILEGED) + 1, end + 1), range(8001, near)):
        good = 0 if port in dynamic or port in avoided else good + 1
        if good == count:
            return port - count + 1
    return None


def list_ports(ports: Iterable[int]) -> str:
    """Write ports for people, those that follow each other as first-last."""
    spans: list[list[int]] = []
    for port in sorted(set(ports)):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    listed = [f"{a}-{b}" if b > a else str(a) for a, b in spans[:MOST_SPANS]]
    return ", ".join([*listed, *(["…"] if len(spans) > MOST_SPANS else [])])
