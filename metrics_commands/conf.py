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
from .exporter_settings import (
    ACCESS_LOG,
    ADDRESS,
    ADVERTISE,
    COLLECTORS,
    EXPORTER_SETTINGS,
    LOG_FORMAT,
    MAX_REQUESTS,
    METRICS_DIRECTORY,
    NAMESPACE,
    NO_COLLECTORS,
    OPEN_HEALTH,
    PORT,
    PORT_RANGE,
    PORT_WAIT,
    SD_FILE,
    TELEMETRY_PATH,
    WEB_CONFIG_FILE,
)
from .setting import SOURCES, Environment, Given, Options, Setting, Switch
from .worker_settings import WORKER_SETTINGS

SETTINGS: tuple[Setting[Any], ...] = (*EXPORTER_SETTINGS, *WORKER_SETTINGS)


def add_options(parser: ArgumentParser) -> None:
    """Give a command the options of all settings, as plain strings: ``load_config`` checks them."""
    for setting in SETTINGS:
        if setting.option:
            names = [setting.option, *([setting.alias] if setting.alias else [])]
            text = _explain(setting).replace("%", "%%")
            if setting.is_flag:
                parser.add_argument(
                    *names, dest=setting.dest, action="store_const", const="true", help=text
                )
                continue
            parser.add_argument(
                *names,
                dest=setting.dest,
                metavar=setting.metavar,
                help=text,
                action="append" if setting.repeatable else "store",
            )


def _explain(setting: Setting[Any]) -> str:
    """Return the help of an option, with its other name and with what holds without both."""
    default = setting.default
    if isinstance(default, tuple):
        default = ", ".join(default)
    elif isinstance(default, float):
        default = f"{default:g}"
    names = [setting.name, *([f"default {default}"] if default and not setting.is_flag else [])]
    return f"{setting.help} [{'; '.join(names)}]"


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
    web_config_file: Path | None
    max_requests: int
    open_health: bool
    access_log: bool
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
        web_config_file=WEB_CONFIG_FILE.resolve(options),
        max_requests=MAX_REQUESTS.resolve(options),
        open_health=OPEN_HEALTH.resolve(options),
        access_log=ACCESS_LOG.resolve(options),
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
