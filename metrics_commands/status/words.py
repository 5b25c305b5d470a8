"""Numbers and names as a person reads them."""

from __future__ import annotations

import html
import re

NOTHING = "–"
BYTES = ("B", "KB", "MB", "GB", "TB")


def write_number(value: float | None) -> str:
    """Return a number with about three digits."""
    if value is None:
        return NOTHING
    if 0 < value < 0.001:
        return "< 0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_share(value: float | None) -> str:
    """Return a share in percent; a small one never looks like none."""
    if value is None:
        return NOTHING
    percent = value * 100
    return "< 0.01 %" if 0 < percent < 0.01 else f"{percent:.3g} %"


def write_seconds(value: float | None) -> str:
    """Return a short duration."""
    if value is None:
        return NOTHING
    if value == 0 or value >= 1:
        return f"{write_number(value)} s"
    return f"{write_number(value * 1e3)} ms" if value >= 0.0001 else "< 0.1 ms"


def write_age(seconds: float | None) -> str:
    """Return a long duration, by its largest unit."""
    if seconds is None:
        return NOTHING
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def write_bytes(value: float) -> str:
    """Return a size."""
    place = 0
    while value >= 1000 and place < len(BYTES) - 1:
        value, place = value / 1000, place + 1
    return f"{write_number(value)} {BYTES[place]}"


def write_name(name: str) -> str:
    """Return a name as HTML that may be broken into lines between its words."""
    return re.sub(r"([_.:])", r"\1<wbr>", html.escape(name))
