"""Every family as the code declares it; ``python -m tests.families`` writes docs/families.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import NamedTuple

import django
from prometheus_client import Metric

from metrics_commands.collectors import celery, tasks
from metrics_commands.collectors.registry import BUILT_IN, Surroundings, make_collectors
from metrics_commands.instrumentation import role
from metrics_commands.instrumentation.cache_families import cache_families
from metrics_commands.instrumentation.celery_families import celery_families
from metrics_commands.instrumentation.command_families import command_families
from metrics_commands.instrumentation.database_families import database_families
from metrics_commands.instrumentation.database_pools import pool_families
from metrics_commands.instrumentation.families import FAMILIES
from metrics_commands.instrumentation.request_families import request_families
from metrics_commands.instrumentation.task_families import task_families
from metrics_commands.multiprocess.folding import Folder
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.server.activity import Activity
from tests.processes import ROOT

PAGE = ROOT / "docs" / "families.md"
HEAD = """\
# Every family

All families that a page may have besides those of your apps, by name, as the code declares them.
`make families` writes this table. [Metrics](metrics.md) has them by subject, and says what is
counted and what cannot be seen.

| name | type | labels | help |
|---|---|---|---|
"""
DECLARATIONS: tuple[Callable[[], object], ...] = (
    request_families,
    database_families,
    cache_families,
    pool_families,
    command_families,
    task_families,
    celery_families,
    role.starts,
)


# What samples of histograms and summaries have besides.
OF_SAMPLES = {"le", "quantile"}


class Row(NamedTuple):
    """A family: its name on the page, its type and sorted labels."""

    name: str
    type: str
    labels: tuple[str, ...]


def list_families() -> dict[Row, str]:
    """Return every family that the exporter or a worker declares, with its help."""
    return dict(sorted([*list_gathered(), *list_declared()]))


def list_gathered() -> Iterator[tuple[Row, str]]:
    """Yield what the exporter's collectors show."""
    from project.shop.models import Product

    names = [name for name in BUILT_IN if name != "application"]
    reader = DirectoryReader(ROOT / "docs")
    reader.folder = Folder(reader.directory, reader.find_shapes)
    surroundings = Surroundings(value_files=reader, served=Activity(), counted_models=(Product,))
    gathered = make_collectors(names, surroundings).gather().families
    for family in (*gathered, *tasks.make_families(""), *celery.make_families()):
        if isinstance(family, Metric):
            row = make_row(family.name, family.type, find_labels(family))
            yield row, family.documentation


def list_declared() -> Iterator[tuple[Row, str]]:
    """Yield what workers write."""
    for declare in DECLARATIONS:
        declare()
    for declared in FAMILIES.values():
        if declared.name.startswith(("django_", "celery_")):
            yield make_row(declared.name, declared.type, declared.labels), declared.documentation


def find_labels(family: Metric) -> Iterable[str]:
    """Return the labels that a family was made with, and those of its samples."""
    shown = {label for sample in family.samples for label in sample.labels}
    return {*getattr(family, "_labelnames", ()), *shown - OF_SAMPLES}


def make_row(name: str, kind: str, labels: Iterable[str]) -> Row:
    """Return the row of a family, whose name is as the text format writes it."""
    return Row(f"{name}_total" if kind == "counter" else name, kind, tuple(sorted(labels)))


def write_table(families: dict[Row, str]) -> str:
    """Return the page with one table of all families."""
    rows = (
        f"| `{row.name}` | {row.type} | {', '.join(row.labels)} | {escape(text, quote=False)} |\n"
        for row, text in families.items()
    )
    return HEAD + "".join(rows)


if __name__ == "__main__":
    django.setup()
    PAGE.write_text(write_table(list_families()))
