"""Our own settings as they hold for one run, and where each was written."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .. import conf, directory, exporter_settings
from ..ports.command_line import escape
from ..ports.numbers import list_ports
from ..setting import Given, Options, Setting
from ..status.document import SettingInForce

LONGEST_VALUE = 200
ABOUT_PORT = (exporter_settings.PORT, exporter_settings.PORT_RANGE)


def list_settings(options: Options) -> tuple[SettingInForce, ...]:
    """Return all settings but the one of port and port range that does not decide."""
    return tuple(_list(options))


def _list(options: Options) -> Iterator[SettingInForce]:
    deciding, _ = conf.choose_ports(options)
    switches = conf.resolve_collectors(options)
    for setting in conf.SETTINGS:
        if setting in ABOUT_PORT and setting is not deciding:
            continue
        given = next(setting.given(options), None)
        value: object = setting.resolve(options)
        if setting in (exporter_settings.COLLECTORS, exporter_settings.NO_COLLECTORS):
            on = setting is exporter_settings.COLLECTORS
            value = tuple(name for name, switch in switches.items() if switch.on == on)
        yield SettingInForce(
            setting.name,
            setting.option,
            show(setting, value),
            find_source(setting, given),
            setting.help,
        )


def find_source(setting: Setting[object], given: Given | None) -> str:
    """Return where a value was written."""
    if given is None:
        return "default"
    # What settings.py chooses, it puts into the environment as well.
    decision = directory.decision
    chosen = decision.requested is not None and not decision.from_environment
    if setting is exporter_settings.METRICS_DIRECTORY and given.source == "environment" and chosen:
        return "setting"
    return given.source


def show(setting: Setting[object], value: object) -> str:
    """Return a value in one line of bounded length; nothing for one that is none."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        text = "yes" if value else "no"
    elif setting is exporter_settings.PORT_RANGE and isinstance(value, tuple):
        text = list_ports(value)
    elif isinstance(value, tuple):
        text = ", ".join(str(each) for each in value if each is not None)
    else:
        text = "forever" if value == math.inf else str(value)
    escaped = escape(text)
    return escaped if len(escaped) <= LONGEST_VALUE else f"{escaped[: LONGEST_VALUE - 1]}…"
