"""Tell a person at a terminal what has begun: what is served, where it comes from, what is next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from django.core.management.color import Style

from .. import __version__
from ..directory import WHAT_TO_ADD
from .layout import Row, lay_out, paint
from .metrics_directory import START_WORKERS

# Not every browser takes the address that stands for all of them.
LOCAL = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}


@dataclass(frozen=True)
class Beginning:
    """What an exporter begins with; ``workers`` is how many processes left value files."""

    project: str
    urls: Sequence[str]
    collectors: Sequence[str]
    directory: Path | None = None
    workers: int = 0


def make_banner(beginning: Beginning, style: Style) -> str:
    """Return the banner, with a line's end after each line."""
    what = f"django-runmetrics {__version__}: metrics of {beginning.project}"
    title = paint(style, "MIGRATE_HEADING", what)
    rows = list(list_rows(beginning))
    return "\n".join(["", title, *lay_out(rows, style, indent=2), "", ""])


def list_rows(beginning: Beginning) -> Iterator[Row]:
    """Yield what is served and where, by what and from where, and the next step."""
    urls = beginning.urls
    yield from list_places("Metrics", urls)
    yield from list_places("Page", find_roots(urls))
    yield make_row("Collectors", f"{len(beginning.collectors)}: {', '.join(beginning.collectors)}")
    yield from list_sources(beginning)
    yield make_row("Next", choose_step(beginning), "SUCCESS")
    yield make_row("Stop", "Ctrl-C")


def list_places(label: str, urls: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each URL, of which the first has the label."""
    for number, url in enumerate(urls):
        yield make_row("" if number else label, url, is_code=True)


def find_roots(urls: Sequence[str]) -> list[str]:
    """Return where a browser on this machine finds each server's start page."""
    roots = [urljoin(each, "/") for each in urls]
    for everywhere, here in LOCAL.items():
        roots = [each.replace(everywhere, here) for each in roots]
    return list(dict.fromkeys(roots))


def list_sources(beginning: Beginning) -> Iterator[Row]:
    """Yield where the workers' numbers come from, and how many workers there have been."""
    if beginning.directory is None:
        yield make_row("Directory", "none: the numbers of workers are missing", "WARNING")
        return
    yield make_row("Directory", str(beginning.directory), is_code=True)
    if beginning.workers:
        yield make_row("Workers", f"{beginning.workers} have left value files there")
    else:
        yield make_row("Workers", "none has written there yet", "WARNING")


def choose_step(beginning: Beginning) -> str:
    """Say what to do next."""
    if beginning.directory is None:
        return f"{WHAT_TO_ADD}."
    if not beginning.workers:
        return START_WORKERS
    return (
        f"Open {find_roots(beginning.urls)[0]} in a browser, and let Prometheus scrape the metrics."
    )


def make_row(label: str, text: str, role: str = "MIGRATE_LABEL", *, is_code: bool = False) -> Row:
    """Return a row of the banner."""
    return Row(text, label, role=role, is_code=is_code)
