"""What a function returns, as families that can be written."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from prometheus_client import Metric

from metrics_commands.collectors.rows import Shape
from metrics_commands.exposition.encoding import encode
from tests.collectors.gathers import gauge, make_set, scrape, succeeded
from tests.processes import parse_samples, sample


def make_odd(
    sample_name: str = "odd", value: Any = 1, timestamp: Any = None, **labels: Any
) -> Metric:
    """Return a family that prometheus_client makes, and perhaps cannot write."""
    family = Metric("odd", "Help.", "gauge")
    family.add_sample(sample_name, labels, value, timestamp)
    return family


@pytest.mark.parametrize(
    ("family", "said"),
    [
        (make_odd(city="\ud800"), "UnicodeEncodeError"),
        (make_odd(city=5), "expected str instance, int found"),
        (make_odd(city=None), "expected str instance, NoneType found"),
        (make_odd(**{"\ud800": "a"}), "UnicodeEncodeError"),
        (make_odd(value=None), "TypeError"),
        (make_odd(value="many"), "could not convert string to float"),
        (make_odd(timestamp=datetime(2026, 1, 2, tzinfo=timezone.utc)), "TypeError"),
        (make_odd("django_model_inserts_total"), "is of another one"),
        (Metric("odd", "\ud800", "gauge"), "UnicodeEncodeError"),
        (Metric("odd", 5, "gauge"), "expected str instance, int found"),  # type: ignore[arg-type]
    ],
)
def test_a_family_that_cannot_be_written_costs_only_itself(
    family: Metric, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The page tells that something is missing, and has all other families of the function."""
    found = [gauge("before", 1), family, (3,), gauge("after", 2)]
    collectors = make_set(rows=lambda: Shape("rows", "Help.", ()).show(found))
    for _ in range(2):
        gathered = collectors.gather()
        samples = parse_samples(encode(gathered.families).decode())
        assert [sample(samples, name) for name in ("before", "rows", "after")] == [1, 3, 2]
        assert not succeeded(samples, "rows")
    assert "the family 'odd' cannot be written: " in caplog.text
    assert said in caplog.text
    assert len(caplog.records) == 1


def test_rows_with_half_a_character_are_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """A text that no page can carry is told of the collector that has it."""
    shape = Shape("towns", "Help.", ("town",))
    collectors = make_set(towns=lambda: shape.show({"a": 1, "\ud800": 2}))
    assert not succeeded(scrape(collectors), "towns")
    assert "the family 'towns' cannot be written: UnicodeEncodeError" in caplog.text
