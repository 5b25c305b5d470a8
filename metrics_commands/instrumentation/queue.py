"""Time in a proxy's queue, from the header ``X-Request-Start`` that it sets."""

from __future__ import annotations

import re
import time

from django.http import HttpRequest

from .. import worker_settings
from .guard import report_loss
from .request_families import request_families

HEADER = "HTTP_X_REQUEST_START"
START = re.compile(r"\s*(?:t\s*=\s*)?([0-9]{9,17}(?:\.[0-9]{1,9})?)\s*")
LONGEST_WAIT = 600.0


def trusts_request_start() -> bool:
    """Tell whether a proxy in front always sets the header, so that no client can."""
    return worker_settings.TRUST_REQUEST_START.resolve_or_default()


def record_queue(request: HttpRequest) -> None:
    """Count the time since a proxy took the request; nothing where that cannot be."""
    try:
        written = request.META.get(HEADER)
        started = parse_start(written) if isinstance(written, str) else None
        if started is not None:
            waited = time.time() - started
            if 0.0 <= waited <= LONGEST_WAIT:
                request_families().queue.observe(waited)
    except Exception:
        report_loss("queue times")


def parse_start(written: str) -> float | None:
    """Return Unix seconds of what proxies write: seconds, milliseconds or microseconds.

    nginx writes ``t=1700000000.123``, Heroku milliseconds, Apache ``t=`` and microseconds.
    """
    found = START.fullmatch(written)
    if found is None:
        return None
    number = float(found[1])
    # The three are a thousand apart, and no clock is.
    for unit in (1.0, 1e3, 1e6):
        if 1e9 <= number / unit < 1e10:
            return number / unit
    return None
