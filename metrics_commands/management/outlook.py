"""What an exporter that is started on this machine would meet at its ports."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import conf, exporter_settings
from ..errors import ExporterError
from ..finding import Finding, make_id
from ..multiprocess.directory import locate_directory
from ..multiprocess.lock import Holder, find_exporter, read_holder
from ..ports import probe, report
from ..ports.address import join, resolve_all
from ..ports.listeners import list_listeners
from ..ports.neighbours.neighbour import COMPOSE, ExporterLine
from ..ports.owner import Owner
from ..ports.probe import State
from ..ports.wish import Wish
from .port import order_ports
from .web_findings import find_scheme

Spot = tuple[str, int]


@dataclass(frozen=True)
class Launch:
    """One exporter that will be started here; ``name`` is what starts it, '' for the settings."""

    wish: Wish
    port_wait: float
    telemetry_path: str
    directory: Path | None
    web_config_file: Path | None = None
    name: str = ""

    @classmethod
    def of_config(cls, config: conf.Config, wish: Wish) -> Launch:
        """Return what this configuration starts."""
        return cls(
            wish,
            config.port_wait,
            config.telemetry_path,
            config.metrics_directory,
            config.web_config_file,
        )

    @classmethod
    def of_line(cls, line: ExporterLine, wish: Wish, config: conf.Config) -> Launch:
        """Return what a line starts, or raise ConfigurationError."""
        options, environment = line.options, line.environment
        directory = exporter_settings.METRICS_DIRECTORY.resolve(options, environment)
        # A container's files are others than those of the same name here.
        web = exporter_settings.WEB_CONFIG_FILE.resolve(options, environment)
        contained = line.starter.kind == COMPOSE
        return cls(
            wish,
            exporter_settings.PORT_WAIT.resolve(options, environment),
            exporter_settings.TELEMETRY_PATH.resolve(options, environment),
            None if contained else directory or config.metrics_directory,
            None if contained else web or config.web_config_file,
            str(line.place),
        )


@dataclass(frozen=True)
class Outlook:
    """What one exporter will meet; ``hopeful`` tells that its ports can be had."""

    advice: str
    ports: Sequence[report.Report] = ()
    urls: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    ours: Mapping[Spot, int] = field(default_factory=dict)
    hopeful: bool = False


def look(launch: Launch, wanted: Collection[int] = ()) -> Outlook:
    """Try every port as ``runmetrics`` would, without listening; others want some ports, too."""
    if not launch.name and has_sockets(os.environ):
        return Outlook("runmetrics will serve the sockets that systemd gives it", hopeful=True)
    directory = launch.directory and locate_directory(launch.directory).path
    exporter = find_exporter(directory) if directory else None
    ports = order_ports(launch.wish.ports, read_holder(directory) if directory else None)
    try:
        found = report.add_owners(probe.look(resolve_all(launch.wish.addresses), ports))
    except ExporterError as error:
        finding = Finding(make_id(15), "error", error.message, error.hint)
        return Outlook("No address to listen on.", findings=[finding])
    ours = find_ours(found, exporter)
    free = list_free_ports(found, ours)
    if not free:
        refusal = describe_refusal(found, launch, wanted)
        return Outlook(report.advise(found), found, (), [refusal], ours)
    scheme = find_scheme(launch.web_config_file)
    urls = [
        f"{scheme}://{join(str(each.probe.address), free[0])}{launch.telemetry_path}"
        for each in found
        if each.probe.port == free[0] and not each.probe.may_be_missing
    ]
    where = " and ".join(urls) if free[0] else "on a port that the kernel will choose"
    name = f"runmetrics of {launch.name}" if launch.name else "runmetrics"
    advice = f"{name} will serve {where}"
    if exporter is not None:
        advice += f" once pid {exporter.pid}, which serves this directory now, has ended"
    return Outlook(advice, found, urls if free[0] else (), (), ours, hopeful=True)


def has_sockets(environment: Mapping[str, str]) -> bool:
    """Tell whether systemd has given sockets to this very process."""
    count = environment.get("LISTEN_FDS", "")
    return environment.get("LISTEN_PID") == str(os.getpid()) and count.strip("0").isdigit()


def find_ours(found: Sequence[report.Report], exporter: Holder | None) -> dict[Spot, int]:
    """Return where the exporter of this directory serves, whoever opened the socket for it."""
    if exporter is None:
        return {}
    return {
        (str(each.probe.address), each.probe.port): exporter.pid
        for each in found
        if each.probe.state is State.TAKEN and is_ours(each, exporter)
    }


def is_ours(found: report.Report, exporter: Holder) -> bool:
    """Tell whether a port is held by an exporter, or for it by systemd."""
    if isinstance(found.owner, Owner) and found.owner.pid == exporter.pid:
        return True
    hosts = {str(found.probe.address), *([found.listener.host] if found.listener else [])}
    places = {f"//{join(host, found.probe.port)}/" for host in hosts}
    return any(place in url for place in places for url in exporter.urls)


def list_free_ports(found: Sequence[report.Report], ours: Mapping[Spot, int]) -> list[int]:
    """Return the ports that can be had on every address; our own exporter will leave its port."""
    refused = {
        each.probe.port
        for each in found
        if each.probe.state is not State.FREE
        and not each.probe.may_be_missing
        and (str(each.probe.address), each.probe.port) not in ours
    }
    return [
        port for port in dict.fromkeys(each.probe.port for each in found) if port not in refused
    ]


def describe_refusal(
    found: Sequence[report.Report], launch: Launch, wanted: Collection[int]
) -> Finding:
    """Say that no port can be had, what runmetrics would do, and which port to write instead."""
    refused = [each.probe for each in found if not each.probe.may_be_missing]
    taken = {*wanted, *(each.port for each in list_listeners())}
    what = f"{refused[0]} cannot be had" if len(refused) == 1 else "No port can be had"
    return Finding(
        make_id(16),
        "error",
        f"{what} ({launch.name})." if launch.name else f"{what}.",
        foresee_wait(
            launch.port_wait, passes_by_itself=any(each.passes_by_itself for each in refused)
        ),
        () if any(each.blames_address for each in refused) else launch.wish.move(taken),
    )


def foresee_wait(seconds: float, *, passes_by_itself: bool) -> str:
    """Say what ``runmetrics`` does where it finds no port."""
    if seconds == math.inf:
        return "runmetrics would go on trying."
    if passes_by_itself and seconds:
        return f"runmetrics would wait {seconds:g} s for it, and exit 1."
    return "runmetrics would exit 1."
