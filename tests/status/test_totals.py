"""What the charts need is added up from the families of a merged page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metrics_commands.status.totals import (
    ALL,
    LATENCY,
    REQUESTS,
    STATUSES,
    VIEW_LATENCY,
    VIEW_STATUSES,
    Rows,
    Series,
    TotalsReader,
)


def make_status(view: str, status: str, method: str = "GET") -> Series:
    """Return a series as the page has it, its labels sorted."""
    pairs = [("method", method), ("status", status), ("view", view)]
    return f"{VIEW_STATUSES}_total", tuple(pair for pair in pairs if pair[1])


def make_histogram(
    name: str, bounds: Sequence[str], counts: Sequence[float], **labels: str
) -> Rows:
    """Return a histogram of one set of labels; ``counts`` are up to each bound."""
    pairs = tuple(sorted(labels.items()))
    series: list[Series] = [
        (f"{name}_bucket", tuple(sorted([*pairs, ("le", bound)]))) for bound in bounds
    ]
    series += [(f"{name}_count", pairs), (f"{name}_sum", pairs)]
    return Rows(series, [*counts, counts[-1], 12.5])


def join(*parts: Rows) -> Rows:
    """Return the sets of labels as one family."""
    return Rows(
        [series for part in parts for series in part.series],
        [number for part in parts for number in part.numbers],
    )


def test_responses_and_errors_are_added_up_by_view() -> None:
    """Methods and statuses of a view are one, and 5xx are its errors."""
    rows = Rows(
        [make_status("a", "200"), make_status("a", "503", "POST"), make_status("b", "404")],
        [5.0, 2.0, 1.0],
    )
    everything = Rows([(STATUSES, (("status", "200"),)), (STATUSES, (("status", "500"),))], [6, 3])
    families = {VIEW_STATUSES: rows, STATUSES: everything, REQUESTS: Rows([(REQUESTS, ())], [11])}
    totals = TotalsReader().read(families, scrapes=4, scrape_seconds=0.5)
    assert {view: list(counts) for view, counts in totals.views.items()} == {
        "a": [7, 2],
        "b": [1, 0],
        ALL: [9, 3],
    }
    assert (totals.requests, totals.scrapes, totals.scrape_seconds) == (11, 4, 0.5)


def test_buckets_are_counted_each_by_itself() -> None:
    """What the page counts up to each bound is known for each bucket, with all its methods."""
    latency = join(
        make_histogram(VIEW_LATENCY, ["0.1", "1.0", "+Inf"], [3, 5, 5], view="a", method="GET"),
        make_histogram(VIEW_LATENCY, ["0.1", "1.0", "+Inf"], [1, 1, 2], view="a", method="POST"),
        make_histogram(VIEW_LATENCY, ["0.1", "1.0", "+Inf"], [0, 4, 4], view="b", method="GET"),
    )
    whole = make_histogram(LATENCY, ["0.1", "1.0", "+Inf"], [9, 9, 10])
    totals = TotalsReader().read({VIEW_LATENCY: latency, LATENCY: whole})
    assert totals.bounds == (0.1, 1.0, math.inf)
    assert {view: list(counts[2:]) for view, counts in totals.views.items()} == {
        "a": [4, 2, 1],
        "b": [0, 4, 0],
        ALL: [9, 0, 1],
    }


def test_buckets_of_two_generations_stand_beside_each_other() -> None:
    """In the middle of a deployment old and new workers may have other bounds."""
    latency = join(
        make_histogram(VIEW_LATENCY, ["1.0", "+Inf"], [3, 4], view="a", method="GET"),
        make_histogram(VIEW_LATENCY, ["2.0", "+Inf"], [5, 5], view="a", method="POST"),
    )
    totals = TotalsReader().read({VIEW_LATENCY: latency})
    assert totals.bounds == (1.0, 2.0, math.inf)
    assert list(totals.views["a"][2:]) == [3, 5, 1]


def test_new_series_are_found_at_the_next_look() -> None:
    """A view that is asked for the first time is in the totals, and new numbers are read."""
    reader = TotalsReader()
    series = [make_status("a", "200")]
    assert list(reader.read({VIEW_STATUSES: Rows(series, [1.0])}).views["a"]) == [1, 0]
    assert list(reader.read({VIEW_STATUSES: Rows(series, [4.0])}).views["a"]) == [4, 0]
    longer = [*series, make_status("b", "500")]
    totals = reader.read({VIEW_STATUSES: Rows(longer, [4.0, 2.0])})
    assert {view: list(counts) for view, counts in totals.views.items()} == {
        "a": [4, 0],
        "b": [2, 2],
    }
    assert reader.read({}).views == {}


def test_what_a_page_lacks_counts_as_nothing() -> None:
    """A damaged bucket, or a number that nobody has set, costs no chart."""
    odd = Rows([(f"{VIEW_LATENCY}_bucket", (("le", "many"), ("view", "a")))], [None])
    totals = TotalsReader().read(
        {VIEW_LATENCY: odd, VIEW_STATUSES: Rows([make_status("a", "")], [None])}
    )
    assert list(totals.views["a"]) == [0, 0, 0]
