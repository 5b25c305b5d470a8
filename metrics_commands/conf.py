"""Every setting of the project, and the frozen configuration of one run.

A value comes from the command line, else the environment, else ``settings.py``, else the default.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import parsers
from .errors import ConfigurationError
from .setting import SOURCES, Environment, Given, Options, Setting, Switch
from .worker_settings import WORKER_SETTINGS

ADDRESS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_EXPORT_ADDRESS",
    parsers.parse_addresses,
    ("127.0.0.1",),
    "Address or host name to listen on; an empty one means all addresses, IPv4 and IPv6.",
    option="--address",
    metavar="HOST",
    repeatable=True,
)
PORT = Setting(
    "PROMETHEUS_METRICS_EXPORT_PORT",
    parsers.parse_port,
    8001,
    "Port to listen on; 0 lets the kernel choose one.",
    option="--port",
    metavar="PORT",
)
PORT_RANGE: Setting[tuple[int, ...]] = Setting(
    "PROMETHEUS_METRICS_EXPORT_PORT_RANGE",
    parsers.parse_port_range,
    (),
    "Ports to try in order, both ends included; in settings.py also range() or a list.",
    option="--port-range",
    metavar="FIRST-LAST",
)
PORT_WAIT = Setting(
    "PROMETHEUS_METRICS_PORT_WAIT",
    parsers.parse_wait,
    10.0,
    "Seconds to wait for a taken port, or for the exporter before this one; or 'forever'.",
    option="--port-wait",
    metavar="SECONDS",
)
METRICS_DIRECTORY: Setting[Path | None] = Setting(
    "PROMETHEUS_MULTIPROC_DIR",
    parsers.parse_directory,
    None,
    "Directory that holds the workers' value files; use_metrics_directory() sets it for workers.",
    option="--metrics-dir",
    metavar="DIR",
)
SD_FILE: Setting[Path | None] = Setting(
    "PROMETHEUS_METRICS_SD_FILE",
    parsers.parse_sd_file,
    None,
    "File to write the target into, for Prometheus' file_sd_configs; its name ends in .json.",
    option="--sd-file",
    metavar="PATH",
)
ADVERTISE: Setting[tuple[str, int | None] | None] = Setting(
    "PROMETHEUS_METRICS_ADVERTISE",
    parsers.parse_advertise,
    None,
    "Address at which Prometheus reaches this exporter, where it is another than it listens on.",
    option="--advertise",
    metavar="HOST[:PORT]",
)
TELEMETRY_PATH = Setting(
    "PROMETHEUS_METRICS_TELEMETRY_PATH",
    parsers.parse_telemetry_path,
    "/metrics",
    "Path under which Prometheus finds the metrics.",
    option="--telemetry-path",
    metavar="PATH",
)
COLLECTORS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_COLLECTORS",
    parsers.parse_names,
    (),
    "Collector to switch on.",
    option="--collector",
    metavar="NAME",
    repeatable=True,
)
NO_COLLECTORS: Setting[tuple[str, ...]] = Setting(
    "PROMETHEUS_METRICS_NO_COLLECTORS",
    parsers.parse_names,
    (),
    "Collector to switch off.",
    option="--no-collector",
    metavar="NAME",
    repeatable=True,
)
EXPORT_MIGRATIONS = Setting(
    "PROMETHEUS_EXPORT_MIGRATIONS",
    parsers.parse_switch,
    True,
    "Whether the exporter looks for unapplied migrations in every database.",
    in_environment=False,
)
LOG_FORMAT = Setting(
    "PROMETHEUS_METRICS_LOG_FORMAT",
    parsers.parse_log_format,
    "text",
    "Format of the log: 'text', or 'json' for one object per line.",
    option="--log-format",
    metavar="FORMAT",
)
NAMESPACE = Setting(
    "PROMETHEUS_METRIC_NAMESPACE",
    parsers.parse_namespace,
    "",
    "Prefix of the django_… and system_usage metrics; the public dashboards expect none.",
    in_environment=False,
)
SETTINGS: tuple[Setting[Any], ...] = (
    ADDRESS,
    PORT,
    PORT_RANGE,
    PORT_WAIT,
    METRICS_DIRECTORY,
    SD_FILE,
    ADVERTISE,
    TELEMETRY_PATH,
    COLLECTORS,
    NO_COLLECTORS,
    EXPORT_MIGRATIONS,
    LOG_FORMAT,
    NAMESPACE,
    *WORKER_SETTINGS,
)


def add_options(parser: ArgumentParser) -> None:
    """Give a command the options of all settings, as plain strings: ``load_config`` checks them."""
    for setting in SETTINGS:
        if setting.option:
            parser.add_argument(
                setting.option,
                dest=setting.dest,
                metavar=setting.metavar,
                help=setting.help.replace("%", "%%"),
                action="append" if setting.repeatable else "store",
            )


@dataclass(frozen=True)
class Config:
    """What one run of a command goes by.

    ``ports`` are tried in order; ``port_wait`` is in seconds, ``math.inf`` for ever;
    ``advertise`` is a host and perhaps a port; ``collectors`` are the names that somebody
    switched on or off.
    """

    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    port_wait: float
    metrics_directory: Path | None
    sd_file: Path | None
    advertise: tuple[str, int | None] | None
    telemetry_path: str
    collectors: Mapping[str, Switch]
    log_format: str
    namespace: str


def load_config(options: Options | None = None) -> Config:
    """Read the configuration of one run, or raise ConfigurationError at the first wrong value."""
    options = options or {}
    for setting in WORKER_SETTINGS:
        # Workers fall back to the default; who starts the exporter is told.
        setting.resolve(options)
    return Config(
        addresses=ADDRESS.resolve(options),
        ports=resolve_ports(options),
        port_wait=PORT_WAIT.resolve(options),
        metrics_directory=METRICS_DIRECTORY.resolve(options),
        sd_file=SD_FILE.resolve(options),
        advertise=ADVERTISE.resolve(options),
        telemetry_path=TELEMETRY_PATH.resolve(options),
        collectors=resolve_collectors(options),
        log_format=LOG_FORMAT.resolve(options),
        namespace=NAMESPACE.resolve(options),
    )


def resolve_ports(options: Options, environment: Environment | None = None) -> tuple[int, ...]:
    """Return the ports to try: the highest source that names a port or a range decides whole."""
    setting, given = choose_ports(options, environment)
    if given is None:
        return (PORT.default,)
    ports = setting.parse_given(given)
    return (ports,) if isinstance(ports, int) else ports


def choose_ports(
    options: Options, environment: Environment | None = None
) -> tuple[Setting[int] | Setting[tuple[int, ...]], Given | None]:
    """Return whether a port or a range decides, and where it was written; None is the default."""
    ports = {given.source: given for given in PORT.given(options, environment)}
    ranges = {given.source: given for given in PORT_RANGE.given(options, environment)}
    for source in SOURCES:
        if source in ports and source in ranges and source != "setting":
            raise ConfigurationError(
                f"{ports[source].label} and {ranges[source].label} are both given: "
                "it should be one of them.",
                from_option=source == "option",
            )
        if source in ranges:
            return PORT_RANGE, ranges[source]
        if source in ports:
            return PORT, ports[source]
    return PORT, None


def resolve_collectors(options: Options) -> dict[str, Switch]:
    """Return which collectors are switched on or off; for each name the highest source decides."""
    switches: dict[str, Switch] = {}
    for source in reversed(SOURCES):
        for setting in (COLLECTORS, NO_COLLECTORS):
            for given in setting.given(options):
                if given.source != source:
                    continue
                for name in setting.parse_given(given):
                    other = switches.get(name)
                    if other and other.given.source == source:
                        raise ConfigurationError(
                            f"{other.given.label} and {given.label} both name "
                            f"{parsers.shorten(name)}: it should be one of them.",
                            from_option=source == "option",
                        )
                    switches[name] = Switch(setting is COLLECTORS, given)
    return switches


def find_wrong_values(options: Options | None = None) -> list[ConfigurationError]:
    """Return what is wrong in any source, also where a higher one overrules it."""
    options = options or {}
    attempts: list[Callable[[], object]] = [
        partial(setting.parse_given, given)
        for setting in SETTINGS
        for given in setting.given(options)
    ]
    attempts += [partial(resolve_ports, options), partial(resolve_collectors, options)]
    errors: dict[str, ConfigurationError] = {}
    for attempt in attempts:
        try:
            attempt()
        except ConfigurationError as error:
            errors[error.message] = error
    return list(errors.values())
