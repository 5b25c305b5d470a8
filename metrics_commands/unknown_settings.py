"""Settings and environment variables that look like ours, and that nothing reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches

from django.conf import settings

from .conf import SETTINGS
from .finding import Change, Finding, Place, make_id
from .wishes import Locate

OURS = "PROMETHEUS_METRICS_"
# Other names may be prometheus_client's, or anybody's: these only if hardly a letter is wrong. A
# misspelled beginning is among them.
PERHAPS_OURS = "PROM"
VERY_CLOSE = 0.9
# Of what comes after the beginning, which all have in common; and two that are as likely.
CLOSE = 0.5
AS_CLOSE = 0.1
# What Kubernetes and Docker give every container for a service called prometheus-metrics.
OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_\d+_")


def find_unknown_settings(locate: Locate) -> Iterator[Finding]:
    """Yield each name that is not known, with the one that was probably meant."""
    known = [each.name for each in SETTINGS]
    for name in list_names(dir(settings), known):
        near = find_near(name, known)
        if near or name.startswith(OURS):
            yield describe("setting", name, near, locate(name), "{} = …")
    # Some settings are no variables; who takes them from one himself is right.
    variables = [each.name for each in SETTINGS if each.in_environment]
    for name in list_names([name for name, value in os.environ.items() if value], known):
        near = find_near(name, variables)
        if (near or name.startswith(OURS)) and not is_of_a_service(name):
            yield describe("environment variable", name, near, Place("environment"), "{}=…")


def list_names(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return those that may be meant for us and are not known."""
    return sorted(name for name in names if name.startswith(PERHAPS_OURS) and name not in known)


def is_of_a_service(name: str) -> bool:
    """Tell whether a variable is there for a service of the cluster, as tcp://… and its parts."""
    return bool(OF_A_SERVICE.search(name)) or "://" in os.environ.get(name, "")


def find_near(name: str, known: Sequence[str]) -> list[str]:
    """Return what may have been meant, the most likely first."""
    if not name.startswith(OURS):
        return get_close_matches(name, known, 1, VERY_CLOSE)
    ratios = {each: SequenceMatcher(None, shorten(name), shorten(each)).ratio() for each in known}
    least = max(CLOSE, max(ratios.values()) - AS_CLOSE)
    return [each for each in sorted(known, key=ratios.__getitem__)[::-1] if ratios[each] >= least]


def shorten(name: str) -> str:
    """Return a name without the beginning that most have."""
    return name.removeprefix("PROMETHEUS_").removeprefix("METRICS_")


def describe(kind: str, name: str, near: Sequence[str], place: Place, line: str) -> Finding:
    """Return that a name is not known; with a line to write, where only one can be meant."""
    silence = f"If it is somebody else's, put {make_id(44)!r} into SILENCED_SYSTEM_CHECKS."
    meant = f"Did you mean {' or '.join(near)}?" if near else f"Nothing here reads it. {silence}"
    return Finding(
        make_id(44),
        "warning",
        f"The {kind} {name} is not known.",
        meant,
        tuple(Change(place, line.format(each)) for each in near if len(near) == 1),
    )
