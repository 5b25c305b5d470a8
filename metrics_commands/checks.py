"""Findings about the configuration that need no I/O: also system checks ``metrics_commands.W0nn``.

As checks they are warnings, since metrics never stop a command. Names are resolved, and ports and
files looked at, by ``manage.py checkports``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core import checks

from . import conf, exporter_settings
from .coming_over import find_left_overs
from .directory import ENVIRONMENT_VARIABLE, WHAT_TO_ADD, decision
from .errors import ConfigurationError
from .finding import Change, Finding, Place, make_id
from .middleware_findings import find_about_middleware
from .parsers import shorten
from .ports.numbers import judge_numbers
from .ports.wish import is_loopback
from .setting import Options
from .unknown_settings import find_unknown_settings
from .wishes import Locate, in_settings, make_wish


def check_all(**kwargs: Any) -> list[checks.CheckMessage]:
    """Return every finding as Django's system checks show it."""
    return [as_check(each) for each in find_all()]


def as_check(finding: Finding) -> checks.CheckMessage:
    """Turn a finding into a system check, which never stops a command."""
    make = checks.Info if finding.severity == "info" else checks.Warning
    lines = [f"{each.place}: {each.write}" for each in finding.changes]
    return make(finding.what, hint="\n".join([finding.why, *lines]).strip(), id=finding.id)


def find_all(options: Options | None = None, locate: Locate = in_settings) -> list[Finding]:
    """Return what is to be said of settings, directory, middleware and installed apps.

    ``locate`` finds the line of a setting; as it reads files, system checks go without.
    """
    return [
        *find_in_settings(options, locate),
        *find_unknown_settings(locate),
        *find_about_directory(),
        *find_about_middleware(),
        *find_left_overs(locate),
    ]


def find_in_settings(options: Options | None, locate: Locate) -> Iterator[Finding]:
    """Yield wrong values, settings that contradict each other, and ports that give trouble."""
    wrong = conf.find_wrong_values(options)
    for error in wrong:
        yield describe_error(error)
    ports = (exporter_settings.PORT.name, exporter_settings.PORT_RANGE.name)
    if all(getattr(settings, name, None) is not None for name in ports):
        yield Finding(
            make_id(2),
            "warning",
            f"{ports[0]} and {ports[1]} are both set; the range is used.",
            "Only one of them can be meant. Remove the other from settings.py.",
            (Change(locate(ports[0]), f"# {ports[0]} = …"),),
        )
    if not wrong:
        wish = make_wish(options, locate)
        yield from judge_numbers(wish.ports, wish.move)
        yield from find_about_reach(wish.addresses, os.environ)


def describe_error(error: ConfigurationError) -> Finding:
    """Turn a wrong value into a finding."""
    advice = "Correct it, then run 'manage.py checkports' to see whether it will work."
    return Finding(make_id(1), "error", str(error.message), error.hint or advice)


def find_about_reach(
    addresses: tuple[str, ...], environment: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield whether Prometheus cannot reach the exporter of a Kubernetes pod."""
    if "KUBERNETES_SERVICE_HOST" in environment and all(map(is_loopback, addresses)):
        yield Finding(
            make_id(13),
            "warning",
            f"In this Kubernetes pod the exporter listens on {', '.join(addresses)} alone.",
            "Prometheus scrapes a pod by its own address, and finds nobody there.",
            (
                Change(
                    Place("environment of the container"),
                    f"{exporter_settings.ADDRESS.name}=0.0.0.0",
                ),
            ),
        )


def find_about_directory() -> Iterator[Finding]:
    """Yield what ``use_metrics_directory`` found when ``settings.py`` was read."""
    if decision.problem:
        yield Finding(
            make_id(4),
            "warning",
            f"Metrics directory {decision.unusable} cannot be used: {decision.problem}.",
            "Metrics stay in memory, unseen. Give a directory that this user may write,"
            f" in settings.py or by {ENVIRONMENT_VARIABLE}.",
        )
    elif decision.requested is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        yield Finding(
            make_id(3),
            "error",
            "No metrics directory: the exporter cannot see the numbers of the workers.",
            WHAT_TO_ADD,
        )
    yield from _find_relative_path()
    for doubt in decision.doubts:
        yield Finding(
            make_id(5),
            "warning",
            f"Metrics directory {decision.path}: {doubt}, so its numbers are not to be trusted.",
            "Let the user of the web process own it, with mode 0700; or 02770 with a group"
            " that web and exporter share.",
        )
    for other in decision.others:
        yield Finding(
            make_id(6),
            "warning",
            f"use_metrics_directory() was called again with {other}; {decision.path} stays in use.",
            "Call it once, at the top of the settings module that is used.",
        )
    if decision.early_metrics:
        names = ", ".join(decision.early_metrics[:10])
        yield Finding(
            make_id(7),
            "warning",
            f"Metrics made before use_metrics_directory() are in no scrape: {names}.",
            "Move the line above the imports that make them.",
        )
    yield from _find_setting_problems()


def _find_relative_path() -> Iterator[Finding]:
    # Where no line of settings.py has made it absolute, it stands in the environment as given.
    variable = os.environ.get(ENVIRONMENT_VARIABLE, "").strip()
    written = decision.relative or variable
    if not written or os.path.isabs(written):
        return
    by_line = bool(decision.relative) and not decision.from_environment
    change = Change(Place("settings.py"), f"use_metrics_directory(BASE_DIR / {written!r})")
    if not by_line:
        path = os.path.abspath(written)
        change = Change(Place("environment"), f"{ENVIRONMENT_VARIABLE}={path}")
    yield Finding(
        make_id(45),
        "warning",
        f"The path of the metrics directory, {shorten(written)}, is relative: processes that start"
        " in different places use different directories.",
        'Give an absolute path, such as BASE_DIR / "var" / "metrics" in settings.py.',
        (change,),
    )


def _find_setting_problems() -> Iterator[Finding]:
    name = exporter_settings.METRICS_DIRECTORY.name
    written = getattr(settings, name, None)
    in_force = os.environ.get(ENVIRONMENT_VARIABLE)
    try:
        path = written and exporter_settings.METRICS_DIRECTORY.parse(written)
    except ValueError:
        return
    if path and not in_force:
        yield Finding(
            make_id(8),
            "warning",
            f"Setting {name} tells the exporter where to read, but workers do not write there.",
            f"Replace it by use_metrics_directory({str(path)!r}) at the top of settings.py.",
        )
