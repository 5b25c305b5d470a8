"""The families of several collectors on one page: of a name that two bring, who has it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import UNDERSCORES, escape_metric_name

from ..parsers import shorten

if TYPE_CHECKING:
    from .run import Run

logger = logging.getLogger("metrics_commands")

# What a family's name may go on with; prometheus_client's registry refuses the same ones.
SUFFIXES = {
    "counter": ("_total", "_created"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "info": ("_info",),
    "summary": ("_count", "_sum", "_created"),
}
# What apps have registered with prometheus_client: of them, and not of the exporter.
OF_APPS = "application"
# Where the exporter tells of the collectors themselves.
RESERVED = "django_exporter_collector_"
EXPORTER = "the exporter itself"
MOST_TOLD = 5


@lru_cache(8192)
def list_names(name: str, kind: str) -> tuple[str, ...]:
    """Return all names that no other family may have, as they are and escaped."""
    names = [name, *(name + suffix for suffix in SUFFIXES.get(kind, ()))]
    return tuple(
        dict.fromkeys([*names, *(escape_metric_name(each, UNDERSCORES) for each in names)])
    )


@dataclass
class Joined:
    """The families of a page by name; ``lost`` has those left out, by who lost them to whom."""

    families: dict[str, Metric] = field(default_factory=dict)
    lost: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)

    @property
    def losers(self) -> frozenset[str]:
        """Return the collectors of which something is left out."""
        return frozenset(loser for loser, _ in self.lost)

    def add(self, collector: str, families: Iterable[Metric]) -> None:
        """Take the families whose names no other collector has."""
        for family in families:
            names = list_names(family.name, str(family.type))
            owners = map(self._find_owner, names)
            owner = next((each for each in owners if each not in (None, collector)), None)
            if owner is None:
                self.families[family.name] = family
                self._owners.update(dict.fromkeys(names, collector))
            else:
                self.lost.setdefault((collector, owner), []).append(family.name)

    def reserve(self, collector: str, names: Iterable[str]) -> None:
        """Keep names, as far as nobody has them yet, from all that are still to come."""
        self._owners = dict.fromkeys(names, collector) | self._owners

    def _find_owner(self, name: str) -> str | None:
        return EXPORTER if name.startswith(RESERVED) else self._owners.get(name)


class Joiner:
    """Joins what collectors found, for one page after another; the log is told once of a clash.

    Of a name that two bring, a built-in collector has it first, then what apps bring, then what
    workers left in files: what the exporter's own process knows of a metric is fresher. The
    project's own collectors come last, in their order, so that none replaces a number by accident.
    ``shown`` says how the log names a collector, if not by its name alone.
    """

    def __init__(
        self, built_in: Collection[str], shown: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._built_in = built_in
        self._shown = shown
        self._lock = threading.Lock()
        self._told: set[tuple[str, str]] = set()

    def join(self, runs: Sequence[tuple[str, Run]]) -> Joined:
        """Return each family once; what a collector loses costs it nothing else."""
        joined = Joined()
        ours = [(name, run) for name, run in runs if name in self._built_in]
        for name, run in sorted(ours, key=lambda each: each[0] == OF_APPS):
            joined.add(name, run.families.values())
        theirs = [(name, run) for name, run in runs if name not in self._built_in]
        if theirs:
            for name, run in ours:
                for rendered in run.rendered:
                    joined.reserve(name, rendered.names)
        for name, run in theirs:
            joined.add(name, run.families.values())
        self._tell(joined)
        return joined

    def _tell(self, joined: Joined) -> None:
        with self._lock:
            news = joined.lost.keys() - self._told
            self._told |= news
        for loser, owner in sorted(news):
            names = joined.lost[loser, owner]
            shown = [*map(shorten, names[:MOST_TOLD]), *(["…"] if len(names) > MOST_TOLD else [])]
            whose = owner if owner == EXPORTER else f"collector {self._shown.get(owner, owner)}"
            what = (
                "Collector %s yields families of %s, which are left out: %s; the others are served."
            )
            logger.error(what, self._shown.get(loser, loser), whose, ", ".join(shown))
