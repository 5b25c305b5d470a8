"""Encode families in Prometheus's text format, version 0.0.4."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

logger = logging.getLogger("metrics_commands")

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_reported: set[str] = set()


class Rendered(Protocol):
    """Families that are text already; ``render`` leaves out those of some names."""

    def render(self, skip: Collection[str] = ()) -> bytes: ...


def encode(families: Iterable[Metric | Rendered]) -> bytes:
    """Return the page, of families with a name only the first; one that fails is left out.

    That it cannot be written is logged once.
    """
    names: set[str] = set()
    pages = []
    for family in families:
        if isinstance(family, Metric):
            names.add(family.name)
            pages.append(_encode_family(family))
        else:
            pages.append(family.render(names))
    return b"".join(pages)


def _encode_family(family: Metric) -> bytes:
    try:
        return generate_latest(_Single(family))
    except Exception:
        if family.name not in _reported:
            _reported.add(family.name)
            logger.exception("Family %s cannot be encoded; the others are served.", family.name)
        return b""


class _Single(Collector):
    """One family, in the shape that prometheus_client's encoder asks for."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
