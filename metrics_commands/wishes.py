"""What exporters will want, by options, environment and settings: this one's, or another line's."""

from __future__ import annotations

from collections.abc import Callable

from . import conf, exporter_settings
from .finding import Place
from .ports.neighbours.neighbour import ExporterLine
from .ports.wish import Wish
from .setting import Given, Options

Locate = Callable[[str], Place]


def in_settings(name: str) -> Place:
    """Return where a setting stands, without looking for its line."""
    return Place("settings.py")


def make_wish(options: Options | None, locate: Locate = in_settings) -> Wish:
    """Return what the exporter of this configuration wants, or raise ConfigurationError."""
    options = options or {}
    _, given = conf.choose_ports(options)
    place, text, port_option = _describe(given, locate)
    return Wish(
        exporter_settings.ADDRESS.resolve(options),
        conf.resolve_ports(options),
        place,
        text,
        port_option=port_option,
        stop=_find_stop(given),
        rewritable=True,
        chosen=given is not None and given.source == "option",
    )


def make_wish_of_line(line: ExporterLine, locate: Locate = in_settings) -> Wish:
    """Return what a line that starts ``runmetrics`` wants, or raise ConfigurationError."""
    options, environment = line.options, line.environment
    _, given = conf.choose_ports(options, environment)
    in_line = given is None or given.source == "option"
    if in_line:
        place, text, port_option = line.place, line.text, "" if given else "--port={}"
    else:
        place, text, port_option = _describe(given, locate, f"environment of {line.place}")
    return Wish(
        exporter_settings.ADDRESS.resolve(options, environment),
        conf.resolve_ports(options, environment),
        place,
        text,
        line.network,
        port_option,
        _find_stop(given),
        span=line.span if given and in_line else None,
        rewritable=not in_line,
        starter=line.starter,
        chosen=given is not None and given.source != "setting",
    )


def _find_stop(given: Given | None) -> int:
    """Return where a range() that was given ends; 0 for anything else."""
    return given.value.stop if given and isinstance(given.value, range) else 0


def _describe(
    given: Given | None, locate: Locate, environment: str = "environment"
) -> tuple[Place, str, str]:
    """Return where a port was written, the line there, and what to write where there is none."""
    name = exporter_settings.PORT.name
    if given is None:
        return in_settings(name), "", f"{name} = {{}}"
    written = given.label.rpartition(" ")[2]
    if given.source == "option":
        return Place("command line"), f"{written} {given.value}", ""
    if given.source == "environment":
        return Place(environment), f"{written}={given.value}", ""
    return locate(written), f"{written} = {given.value!r}", ""
