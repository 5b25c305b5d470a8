"""A chart as SVG: as wide as there is room, with text that never shrinks, and no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from .document import Line

# Of the plot; it is stretched to the width that there is, and lines keep theirs.
HEIGHT = 120
# Above the plot, for the topmost label, and below, for the time.
ABOVE, BELOW = 18, 20
NICE = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
# Steps in which nothing happened, as between two scrapes, do not interrupt a line.
MOST_BRIDGED = 8
TIMES = (
    ("0%", "start", "15 min"),
    ("33.33%", "middle", "10 min"),
    ("66.67%", "middle", "5 min"),
    ("100%", "end", "now"),
)

Write = Callable[[float | None], str]
Point = tuple[int, float]


def draw(lines: Sequence[Line], write: Write, label: str, least: float, step_seconds: int) -> str:
    """Return the chart of lines; ``write`` shows a number, ``least`` is the lowest top of scale."""
    top = choose_top(lines, least)
    height = ABOVE + HEIGHT + BELOW
    svg = Element(
        "svg",
        {"class": "chart", "role": "img", "aria-label": label, "width": "100%",
         "height": str(height)},
    )  # fmt: skip
    draw_grid(svg)
    steps = len(lines[0].points)
    plot = SubElement(
        svg,
        "svg",
        {"y": str(ABOVE), "width": "100%", "height": str(HEIGHT), "overflow": "visible",
         "viewBox": f"0 0 {steps - 1} {HEIGHT}", "preserveAspectRatio": "none"},
    )  # fmt: skip
    # The first is the most important, so it is drawn last.
    for place, line in reversed(list(enumerate(lines))):
        draw_line(plot, place, line, top, with_area=len(lines) == 1)
    draw_columns(plot, lines, write, step_seconds)
    # Over the lines, or these would strike it out.
    draw_scale(svg, top, write)
    return tostring(svg, encoding="unicode")


def choose_top(lines: Sequence[Line], least: float) -> float:
    """Return a round number that no point exceeds."""
    points = [point for line in lines for point in line.points if point is not None]
    highest = max([least, *points])
    power = 10.0 ** math.floor(math.log10(highest))
    return next(nice * power for nice in NICE if nice * power >= highest * 0.999)


def draw_grid(svg: Element) -> None:
    """Draw the horizontal lines."""
    for share in (0.0, 0.5, 1.0):
        y = f"{find_y(share):.1f}"
        SubElement(svg, "line", {"class": "grid", "x2": "100%", "y1": y, "y2": y})


def draw_scale(svg: Element, top: float, write: Write) -> None:
    """Write numbers onto the horizontal lines, and the time below."""
    for share in (0.5, 1.0):
        place = {"class": "scale", "y": f"{find_y(share) - 4:.1f}"}
        SubElement(svg, "text", place).text = write(top * share)
    for x, anchor, text in TIMES:
        y = str(ABOVE + HEIGHT + BELOW - 5)
        place = {"class": "scale", "x": x, "y": y, "text-anchor": anchor}
        SubElement(svg, "text", place).text = text


def find_y(share: float) -> float:
    """Return where a share of the scale is, from above."""
    return ABOVE + HEIGHT * (1 - share)


def draw_line(plot: Element, place: int, line: Line, top: float, *, with_area: bool) -> None:
    """Draw what is known of a line, with gaps where nothing is; a single point is a dot."""
    for stretch in split(line):
        path = "L".join(f"{step} {HEIGHT * (1 - value / top):.1f}" for step, value in stretch)
        if with_area and len(stretch) > 1:
            ends = f"M{stretch[0][0]} {HEIGHT}L{path}L{stretch[-1][0]} {HEIGHT}Z"
            SubElement(plot, "path", {"class": "area", "d": ends})
        # A line of no length has round ends, which make a dot.
        drawn, kind = (f"M{path}", "line") if len(stretch) > 1 else (f"M{path}h0", "line point")
        SubElement(plot, "path", {"class": f"{kind} line-{place}", "d": drawn})
    known = [(step, value) for step, value in enumerate(line.points) if value is not None]
    if known and place == 0:
        step, value = known[-1]
        dot = f"M{step} {HEIGHT * (1 - value / top):.1f}h0"
        SubElement(plot, "path", {"class": "dot", "d": dot})


def split(line: Line) -> list[list[Point]]:
    """Return the stretches of a line, which end where nothing is known for long."""
    stretches: list[list[Point]] = []
    for step, value in enumerate(line.points):
        if value is None:
            continue
        if not stretches or step - stretches[-1][-1][0] > MOST_BRIDGED:
            stretches.append([])
        stretches[-1].append((step, value))
    return stretches


def draw_columns(plot: Element, lines: Sequence[Line], write: Write, step_seconds: int) -> None:
    """Draw a column for each step, unseen until somebody points at it, that tells its numbers."""
    steps = len(lines[0].points)
    for step in range(steps):
        known = [(line.name, line.points[step]) for line in lines]
        shown = [f"{name}: {write(value)}" for name, value in known if value is not None]
        if shown:
            place = {"class": "column", "x": str(step - 0.5), "width": "1", "height": str(HEIGHT)}
            column = SubElement(plot, "rect", place)
            moment = write_moment((steps - 1 - step) * step_seconds)
            SubElement(column, "title").text = "\n".join([moment, *shown])


def write_moment(seconds: int) -> str:
    """Return how long ago something was."""
    if not seconds:
        return "now"
    return f"{seconds // 60}:{seconds % 60:02} min ago"
