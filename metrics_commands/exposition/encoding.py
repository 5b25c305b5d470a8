"""Encode families in any format: each alone, so that one which cannot be costs only itself."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable
from copy import copy
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.exposition import (
    ALLOWUTF8,
    UNDERSCORES,
    VALUES,
    escape_label_name,
    escape_metric_name,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .format import TEXT, Format

logger = logging.getLogger("metrics_commands")

END = b"# EOF\n"
# What a family's name goes on with: on the page, and in OpenMetrics also in what is kept for it.
SHOWN_SUFFIXES = {"counter": "_total", "info": "_info"}
KEPT_SUFFIXES = {
    "counter": ("_total", "_created"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "info": ("_info",),
    "summary": ("_count", "_sum", "_created"),
}
UNITLESS = ("info", "stateset")
LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TIMESTAMP = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", re.IGNORECASE)

_reported: set[tuple[str, str]] = set()


class Rendered(Protocol):
    """Families that are text already.

    ``render`` leaves out those that would take one of the names to skip, and where names are
    given, all but these; there is no end mark.
    """

    def render(
        self,
        skip: Collection[str] = (),
        *,
        openmetrics: bool = False,
        escaping: str = UNDERSCORES,
        names: Collection[str] = (),
    ) -> bytes: ...


def encode(
    families: Iterable[Metric | Rendered],
    form: Format = TEXT,
    names: Iterable[str] = (),
    on_failure: Callable[[], None] = lambda: None,
) -> bytes:
    """Return the page: of families with the same name the first, and none that fails.

    That it cannot be written is logged once, and told each time by ``on_failure``. Where there
    are ``names``, of families or of samples, the page has only these.
    """
    wanted = frozenset(names)
    taken: set[str] = set()
    pages = []
    for family in families:
        if not isinstance(family, Metric):
            page = family.render(
                taken, openmetrics=form.openmetrics, escaping=form.escaping, names=wanted
            )
            pages.append(page)
            continue
        try:
            own = list_names(family, form)
            if taken.isdisjoint(own):
                taken |= own
                pages.append(encode_family(family, form, wanted))
            else:
                _report(family, "is left out: another one has its name")
        except Exception:
            _report(family, "cannot be encoded", failed=True)
            on_failure()
    return b"".join([*pages, END] if form.openmetrics else pages)


def list_names(family: Metric, form: Format) -> set[str]:
    """Return the names that no other family of the page may have, escaped and as they are."""
    suffixes: tuple[str, ...] = (SHOWN_SUFFIXES.get(family.type, ""),)
    if form.openmetrics:
        suffixes = ("", *KEPT_SUFFIXES.get(family.type, ()))
    shown = (escape_metric_name(family.name + suffix, UNDERSCORES) for suffix in suffixes)
    return {family.name, *shown}


def encode_family(family: Metric, form: Format, names: Collection[str] = ()) -> bytes:
    """Return a family's part of the page; raise for one that would damage the others'."""
    chosen = copy(family)
    if names and not is_named(family, names, form.escaping):
        chosen.samples = [
            sample for sample in family.samples if _is_shown(sample.name, names, form.escaping)
        ]
        if not chosen.samples:
            return b""
    check(chosen, form.escaping)
    if not form.openmetrics:
        return generate_latest(_Single(chosen), form.escaping)
    check_exemplars(chosen)
    escape(chosen, form.escaping)
    # All is escaped by now: prometheus_client itself escapes OpenMetrics' samples otherwise than
    # the names of their families.
    page: bytes = openmetrics.generate_latest(_Single(chosen), ALLOWUTF8)  # type: ignore[no-untyped-call]
    return page.removesuffix(END)


def is_named(family: Metric, names: Collection[str], escaping: str) -> bool:
    """Tell whether names have this family, as any format shows it."""
    shown = family.name + SHOWN_SUFFIXES.get(family.type, "")
    return any(_is_shown(each, names, escaping) for each in (family.name, shown))


def _is_shown(name: str, names: Collection[str], escaping: str) -> bool:
    return name in names or escape_metric_name(name, escaping) in names


def check(family: Metric, escaping: str) -> None:
    """Raise ValueError for what prometheus_client writes, and no parser reads."""
    for name in (family.name, *(sample.name for sample in family.samples)):
        _check_name(name)
    for sample in family.samples:
        for label in sample.labels:
            _check_name(label)
        if len({escape_label_name(each, escaping) for each in sample.labels}) < len(sample.labels):
            raise ValueError(f"two labels of {sample.name} are one when they are escaped")
        if sample.value is None:
            raise ValueError(f"{sample.name} has no value")
        _check_timestamp(sample.timestamp)


def check_exemplars(family: Metric) -> None:
    """Raise ValueError for what stands in exemplars as it is, and no parser reads."""
    for sample in family.samples:
        if sample.exemplar:
            for label in sample.exemplar.labels:
                if not LABEL_NAME.fullmatch(label):
                    raise ValueError(f"{label!r} is no label of an exemplar")
            _check_timestamp(sample.exemplar.timestamp)


def _check_timestamp(timestamp: object) -> None:
    # It is written as it prints; with one that is no number Prometheus gives the page up.
    if timestamp is not None and not TIMESTAMP.fullmatch(str(timestamp)):
        raise ValueError(f"{timestamp!r} is no timestamp")


def _check_name(name: str) -> None:
    # A name that ends in a newline is legal to prometheus_client, so that it is not escaped.
    if not name or name.endswith("\n"):
        raise ValueError(f"{name!r} is no name")


def escape(family: Metric, escaping: str) -> None:
    """Escape all names, and drop a unit that the name then does not end with."""
    escaped = family.name
    if escaping != ALLOWUTF8:
        escaped = escape_metric_name(family.name, escaping)
        family.samples = [_escape_sample(sample, escaping) for sample in family.samples]
    family.name = escaped
    fits = escaped.endswith(f"_{family.unit}") and family.type not in UNITLESS
    if not fits or escape_label_name(family.unit, VALUES) != family.unit:
        family.unit = ""


def _escape_sample(sample: Sample, escaping: str) -> Sample:
    labels = {escape_label_name(name, escaping): text for name, text in sample.labels.items()}
    return sample._replace(name=escape_metric_name(sample.name, escaping), labels=labels)


def _report(family: Metric, what: str, *, failed: bool = False) -> None:
    if (str(family.name), what) not in _reported:
        _reported.add((str(family.name), what))
        logger.error("Family %s %s; the others are served.", family.name, what, exc_info=failed)


class _Single(Collector):
    """One family, in the shape that prometheus_client's encoder asks for."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)
