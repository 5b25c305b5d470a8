"""The status page as HTML, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tornado.template import Loader, Template

from . import chart, words
from .chart import Write
from .document import Charts, Line, Status
from .history import STEP_SECONDS

FOLDER = Path(__file__).parent / "pages"
TYPES = {
    "status.css": "text/css; charset=utf-8",
    "status.js": "text/javascript; charset=utf-8",
    "status.svg": "image/svg+xml",
}
SEVERE = ("error", "critical")


class Measure(NamedTuple):
    """What a chart shows, how its numbers are written, and the lowest top of its scale."""

    title: str
    unit: str
    write: Write
    least: float
    empty: str = "No request in the last 15 minutes."


RATE = Measure("Requests", "per second", words.write_number, 1.0)
ERRORS = Measure("Server errors", "of all responses", words.write_share, 0.01)
LATENCY = Measure("Latency", "for 19 of 20 requests (p95)", words.write_seconds, 0.001)
SCRAPES = Measure(
    "Scrape duration",
    "at the last scrapes",
    words.write_seconds,
    0.001,
    "No scrape in the last 15 minutes; the job for Prometheus is below.",
)


class Card(NamedTuple):
    """A chart with the number of now; without ``svg`` there is nothing to be shown.

    ``legend`` has the names of its lines where there are several.
    """

    id: str
    measure: Measure
    now: str
    svg: str
    legend: tuple[str, ...]


def write_json(status: Status) -> bytes:
    """Return the document; ``docs/status.schema.json`` describes it."""
    return json.dumps(asdict(status), allow_nan=False).encode()


def write_page(status: Status) -> bytes:
    """Return the page."""
    return load_template().generate(
        status=status,
        cards=list_cards(status),
        moments=list_moments(status.charts),
        failing=[each.name for each in status.collectors if each.state == "failed"],
        grave=[each for each in status.findings.findings if each.severity in SEVERE],
        words=words,
    )


@cache
def load_template() -> Template:
    """Return the template, compiled once."""
    return Loader(str(FOLDER), whitespace="all").load("status.html")


def read_files() -> dict[str, tuple[str, bytes]]:
    """Return what the page asks for besides, by its name: content type and content."""
    return {name: (kind, (FOLDER / name).read_bytes()) for name, kind in TYPES.items()}


def list_cards(status: Status) -> list[Card]:
    """Return the four charts."""
    charts, minute = status.charts, status.last_minute
    return [
        make_card(RATE, minute.requests_per_second, [charts.requests_per_second]),
        make_card(ERRORS, minute.error_share, [charts.error_share]),
        make_card(LATENCY, minute.p95, charts.latency),
        make_card(SCRAPES, status.scrape_seconds, [charts.scrape_seconds]),
    ]


def make_card(measure: Measure, value: float | None, lines: Sequence[Line]) -> Card:
    """Return one chart; its first line is what it is about."""
    name, now, svg = measure.title.lower().replace(" ", "-"), measure.write(value), ""
    points = [point for point in lines[0].points if point is not None]
    if points:
        label = (
            f"{measure.title}, {measure.unit}, in the last 15 minutes: {now} now,"
            f" between {measure.write(min(points))} and {measure.write(max(points))}."
        )
        svg = chart.draw(lines, measure.write, label, measure.least, STEP_SECONDS)
    legend = tuple(line.name for line in lines) if len(lines) > 1 else ()
    return Card(name, measure, now, svg, legend)


def list_moments(charts: Charts) -> list[tuple[str, ...]]:
    """Return a row of numbers for each step of which something is known, the latest first.

    The lines of views come last.
    """
    columns = [
        (charts.requests_per_second, words.write_number),
        (charts.error_share, words.write_share),
        (charts.latency[0], words.write_seconds),
        (charts.scrape_seconds, words.write_seconds),
        *((line, words.write_seconds) for line in charts.latency[1:]),
    ]
    steps = len(charts.requests_per_second.points)
    return [
        (
            chart.write_moment((steps - 1 - step) * charts.step_seconds),
            *(write(line.points[step]) for line, write in columns),
        )
        for step in reversed(range(steps))
        if any(line.points[step] is not None for line, _ in columns)
    ]
