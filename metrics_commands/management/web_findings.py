"""What the exporter would find in the web configuration file; no port is opened."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ExporterError
from ..finding import Change, Finding, Place, make_id
from ..server.tls import make_context, read_validity
from ..server.tls_configuration import TLS
from ..server.web_configuration import find_exposed, load

DAY = 24 * 3600
SOON = 30 * DAY


def examine_web_configuration(path: Path | None) -> Iterator[Finding]:
    """Yield whether it is valid, keeps its secrets, and how long its certificate holds."""
    if path is None:
        return
    try:
        configuration = load(path)
        if configuration.tls:
            make_context(configuration.tls)
            yield from examine_dates(configuration.tls)
    except ExporterError as error:
        yield Finding(make_id(39), "error", error.message, error.hint)
        return
    for exposed in find_exposed(path, configuration):
        yield Finding(
            make_id(40),
            "warning",
            f"{exposed} can be read by every user of this machine.",
            "Whoever has its secret can decrypt, or guess a password without being seen.",
            (Change(Place("shell"), f"chmod o-r {shlex.quote(str(exposed))}"),),
        )


def find_scheme(path: Path | None) -> str:
    """Return how an exporter with this file would be spoken to; a wrong file is a finding."""
    try:
        return "https" if path and load(path).tls else "http"
    except ExporterError:
        return "http"


def examine_dates(tls: TLS) -> Iterator[Finding]:
    """Yield whether the certificate holds now, and for a while."""
    begin, end = read_validity(tls)
    now = time.time()
    name = f"{tls.certificate.place}: the certificate of {tls.certificate.key}"
    if not begin <= now <= end:
        what = (
            f"begins to hold on {format_day(begin)}"
            if now < begin
            else f"ended on {format_day(end)}"
        )
        yield Finding(make_id(39), "error", f"{name} {what}.", "Prometheus would refuse it.")
    elif end - now < SOON:
        yield Finding(
            make_id(41),
            "warning",
            f"{name} ends on {format_day(end)}.",
            "From then on Prometheus refuses it. A new one is taken up without a restart.",
        )


def format_day(seconds: float) -> str:
    """Return a day as it is written in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
