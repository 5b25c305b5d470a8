"""Charts are well-formed pictures of their lines, whatever the numbers are."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, fromstring

from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.status.chart import HEIGHT, choose_top, draw
from metrics_commands.status.document import Line
from metrics_commands.status.words import write_number

POINTS = st.lists(
    st.none() | st.floats(0, 1e12, allow_subnormal=False), min_size=60, max_size=60
).map(tuple)


def parse(*lines: Line) -> Element:
    """Return a chart of these lines, read as XML."""
    return fromstring(draw(lines, write_number, 'A "chart" of <all>', 1.0, 15))


def test_no_line_strikes_out_the_scale() -> None:
    """Numbers and times are drawn over the lines, which are drawn over the grid."""
    tags = [each.tag.rpartition("}")[2] for each in parse(Line("one", (1.0,) * 60))]
    assert tags == ["line"] * 3 + ["svg"] + ["text"] * 6


@settings(max_examples=60, deadline=None)
@given(POINTS, POINTS)
def test_every_point_is_inside_the_plot(
    one: tuple[float | None, ...], other: tuple[float | None, ...]
) -> None:
    """No number leaves the picture, and each that is known is in it."""
    chart = parse(Line("one", one), Line("other", other))
    drawn = [each.get("d", "") for each in chart.iter("path") if "line" in each.get("class", "")]
    places = [
        (float(x), float(y))
        for path in drawn
        for x, y in re.findall(r"[ML]([\d.]+) (-?[\d.]+)", path)
    ]
    assert len(places) == sum(point is not None for point in (*one, *other))
    assert all(0 <= x <= 59 and -0.2 <= y <= HEIGHT for x, y in places)


def test_what_is_not_known_for_long_is_a_gap() -> None:
    """Minutes in which nobody looked are not shown as if they had been quiet."""
    chart = parse(Line("one", (1.0, None, 2.0, *[None] * 8, 3.0)))
    drawn = [each.get("d") for each in chart.iter("path") if "line-0" in each.get("class", "")]
    assert drawn == ["M0 80.0L2 40.0", "M11 0.0h0"]


def test_a_column_tells_its_numbers_and_names_are_escaped() -> None:
    """Who points at a moment reads its numbers, without a script."""
    chart = parse(Line("<all>", (1.5, None)), Line('"b" & c', (None, 200.0)))
    titles = [each.text for each in chart.iter("title")]
    assert titles == ["0:15 min ago\n<all>: 1.5", 'now\n"b" & c: 200']
    assert chart.get("aria-label") == 'A "chart" of <all>'


@given(st.floats(0, 1e300))
@settings(max_examples=60, deadline=None)
def test_a_scale_ends_at_a_round_number(highest: float) -> None:
    """The highest point is in the upper half of the picture, or below the least scale."""
    top = choose_top([Line("", (highest, None))], 0.5)
    assert top >= highest * 0.999
    assert top <= max(highest, 0.5) * 2.51
