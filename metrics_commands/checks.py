"""System checks ``metrics_commands.W0nn``: warnings, since metrics never stop a command.

They do no I/O: names are resolved, and ports and files looked at, by ``manage.py checkports``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks

from . import conf
from .directory import ENVIRONMENT_VARIABLE, WHAT_TO_ADD, decision
from .errors import ConfigurationError

TAG = "metrics"
BEFORE = "metrics_commands.middleware.PrometheusBeforeMiddleware"
AFTER = "metrics_commands.middleware.PrometheusAfterMiddleware"


def warn(number: int, message: str, hint: str) -> checks.CheckMessage:
    """Make the warning ``metrics_commands.W0nn``."""
    return checks.Warning(message, hint=hint, id=f"metrics_commands.W{number:03}")


def check_settings(**kwargs: Any) -> list[checks.CheckMessage]:
    """Report wrong values, and settings that contradict each other."""
    found = [warn(1, str(error), _advise(error)) for error in conf.find_wrong_values()]
    ports = (conf.PORT.name, conf.PORT_RANGE.name)
    if all(getattr(settings, name, None) is not None for name in ports):
        found.append(
            warn(
                2,
                f"{ports[0]} and {ports[1]} are both set; the range is used.",
                "Remove one of them from settings.py.",
            )
        )
    return found


def _advise(error: ConfigurationError) -> str:
    return error.hint or "Correct it, then run 'manage.py checkports' to see whether it will work."


def check_middleware(**kwargs: Any) -> list[checks.CheckMessage]:
    """Report one middleware without the other, or both in the wrong order."""
    ours = [name for name in settings.MIDDLEWARE if name in (BEFORE, AFTER)]
    if ours in ([], [BEFORE, AFTER]):
        return []
    return [
        warn(
            9,
            "Of the metrics' two middlewares one is missing, or they stand in the wrong order.",
            f"Let MIDDLEWARE begin with {BEFORE!r} and end with {AFTER!r}.",
        )
    ]


def find_warnings() -> list[checks.CheckMessage]:
    """Return what ``manage.py check`` would say, for those who start only the exporter."""
    return [*check_settings(), *check_directory(), *check_middleware()]


def check_directory(**kwargs: Any) -> list[checks.CheckMessage]:
    """Report what ``use_metrics_directory`` found when ``settings.py`` was read."""
    return list(_find_directory_problems())


def _find_directory_problems() -> Iterator[checks.CheckMessage]:
    if decision.problem:
        yield warn(
            4,
            f"Metrics directory {decision.path} cannot be used: {decision.problem}.",
            "Metrics stay in memory, unseen. Give a directory that this user may write,"
            f" in settings.py or by {ENVIRONMENT_VARIABLE}.",
        )
    elif decision.requested is None and not os.environ.get(ENVIRONMENT_VARIABLE):
        yield warn(
            3,
            "No metrics directory: the exporter cannot see the numbers of this process.",
            WHAT_TO_ADD,
        )
    for doubt in decision.doubts:
        yield warn(
            5,
            f"Metrics directory {decision.path}: {doubt}, so its numbers are not to be trusted.",
            "Let the user of the web process own it, with mode 0700; or 02770 with a group"
            " that web and exporter share.",
        )
    for other in decision.others:
        yield warn(
            6,
            f"use_metrics_directory() was called again with {other}; {decision.path} stays in use.",
            "Call it once, at the top of the settings module that is used.",
        )
    if decision.early_metrics:
        names = ", ".join(decision.early_metrics[:10])
        yield warn(
            7,
            f"Metrics made before use_metrics_directory() are in no scrape: {names}.",
            "Move the line above the imports that make them.",
        )
    yield from _find_setting_problems()


def _find_setting_problems() -> Iterator[checks.CheckMessage]:
    name = conf.METRICS_DIRECTORY.name
    written = getattr(settings, name, None)
    in_force = os.environ.get(ENVIRONMENT_VARIABLE)
    try:
        path = written and conf.METRICS_DIRECTORY.parse(written)
    except ValueError:
        return
    if path and not in_force:
        yield warn(
            8,
            f"Setting {name} tells the exporter where to read, but workers do not write there.",
            f"Replace it by use_metrics_directory({str(path)!r}) at the top of settings.py.",
        )
