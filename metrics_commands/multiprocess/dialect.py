"""All that a page has beside numbers, made once for each format and escaping that is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .family import Family


@dataclass(frozen=True)
class Dialect:
    """How a table is written in one format and one escaping.

    ``texts`` are its series, in the order of the page and shared with other formats; ``parts`` is
    the page with room for a number after each text; ``names`` are all that its families take up,
    but for the ``clashing`` ones, which are not shown.
    """

    openmetrics: bool
    escaping: str
    texts: list[str]
    parts: list[str]
    names: frozenset[str]
    clashing: Collection[str]


def make_dialect(
    escaping: str,
    families: Iterable[Family],
    texts: list[str],
    clashing: Collection[str],
    *,
    openmetrics: bool,
) -> Dialect:
    """Lay out a page of these series."""
    parts = [""] * (2 * len(texts))
    parts[::2] = texts
    names: set[str] = set()
    position = 0
    for family in families:
        parts[position] = family.write_header(escaping, openmetrics=openmetrics) + parts[position]
        position += 2 * len(family.series)
        names |= family.list_names(openmetrics=openmetrics)
    if parts:
        parts[0] = parts[0][1:]
        parts.append("\n")
    return Dialect(openmetrics, escaping, texts, parts, frozenset(names), clashing)
