"""Compress a page: at the lowest level, since metrics repeat themselves so much."""

from __future__ import annotations

import gzip

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

LEVEL = 1
# What goes out in one packet anyway arrives no sooner compressed.
SMALLEST = 1400


def compress(page: bytes) -> bytes:
    """Return a page in the gzip format, the same for the same page at any time."""
    if igzip is not None:
        return igzip.compress(page, LEVEL, mtime=0)
    return gzip.compress(page, LEVEL, mtime=0)
