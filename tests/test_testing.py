"""What users' own tests ask for metrics with."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from itertools import count

import pytest

from metrics_commands.instrumentation.families import Counter, Histogram
from metrics_commands.testing import assert_metric_increments, metric_value

numbers = count()


@pytest.fixture
def meals() -> Counter:
    """Declare a metric that no other test has counted."""
    return Counter(f"zoo_meals_{next(numbers)}", "Meals.", ["animal", "name"])


def test_a_value_is_found_by_name_and_labels(meals: Counter) -> None:
    """Labels come as keywords or as a mapping, also those that are called like an argument."""
    name = f"{meals.name}_total"
    assert metric_value(name, animal="dog", name="Rex") is None
    meals.inc("dog", "Rex", amount=2)
    assert metric_value(name, animal="dog", name="Rex") == 2
    assert metric_value(name, {"animal": "dog"}, name="Rex") == 2
    assert metric_value(name, {"animal": "dog", "name": "Rex"}) == 2
    assert metric_value(name) is None
    assert metric_value("django_exporter_label_sets_dropped") is None


def test_label_values_need_not_be_text() -> None:
    """A status may be written as the number that it is."""
    answers = Counter(f"zoo_answers_{next(numbers)}", "Answers.", ["status"])
    answers.inc("404")
    assert metric_value(f"{answers.name}_total", status=404) == 1


@pytest.mark.parametrize("by", [0, 1, 3, 0.3])
def test_the_right_increment_passes(meals: Counter, by: float) -> None:
    """A new series grows from 0, one that is there from what it was, sums of fractions too."""
    series = {"animal": "dog", "name": "Rex"}
    for _ in range(2):
        with assert_metric_increments(f"{meals.name}_total", by=by, labels=series):
            for _ in range(3):
                meals.inc("dog", "Rex", amount=by / 3)


def test_a_histogram_is_counted_by_its_samples() -> None:
    """The name is the one of a sample, so that how often a histogram observed can be asserted."""
    weights = Histogram(f"zoo_weights_{next(numbers)}", "Weights.", bounds=(1.0, float("inf")))
    with (
        assert_metric_increments(f"{weights.name}_count", by=2),
        assert_metric_increments(f"{weights.name}_sum", by=5),
        assert_metric_increments(f"{weights.name}_bucket", le="1.0"),
    ):
        weights.observe(1)
        weights.observe(4)


def nothing(meals: Counter) -> None:
    """Count nothing at all."""


def another_series(meals: Counter) -> None:
    """Count a meal of the cat's."""
    meals.inc("cat", "Tom")


def too_much(meals: Counter) -> None:
    """Count two meals of Rex's."""
    meals.inc("dog", "Rex", amount=2)


@pytest.mark.parametrize(
    ("action", "name", "expected"),
    [
        (nothing, "{}_total", '{}_total{{animal="dog", name="Rex"}} grew by 0, not by 1.'),
        (too_much, "{}_total", '{}_total{{animal="dog", name="Rex"}} grew by 2, not by 1.'),
        (
            another_series,
            "{}_total",
            (
                '{}_total{{animal="dog", name="Rex"}} grew by 0, not by 1.'
                ' Meanwhile grew: {}_total{{animal="cat", name="Tom"}} by 1.'
            ),
        ),
        (
            too_much,
            "{}",
            (
                '{}{{animal="dog", name="Rex"}} grew by 0, not by 1.'
                " There is no metric {}. Did you mean {}_total"
            ),
        ),
    ],
)
def test_a_wrong_increment_says_what_happened_instead(
    meals: Counter, action: Callable[[Counter], None], name: str, expected: str
) -> None:
    """The message tells the series, both numbers, and what else there is."""
    meals.inc("dog", "Rex")
    with (
        pytest.raises(AssertionError) as failure,
        assert_metric_increments(name.format(meals.name), animal="dog", labels={"name": "Rex"}),
    ):
        action(meals)
    wanted = expected.format(*[meals.name] * 3)
    found = str(failure.value)
    # Of similar names there may be several.
    assert found.startswith(wanted) if "Did you mean" in wanted else found == wanted


def test_wrong_labels_are_told(meals: Counter) -> None:
    """Whoever forgets a label sees the series that there are."""
    meals.inc("dog", "Rex")
    with (
        pytest.raises(AssertionError, match=r'no such series, but: zoo_.*animal="dog", name="Rex"'),
        assert_metric_increments(f"{meals.name}_total", animal="dog"),
    ):
        pass


def test_an_error_inside_is_not_hidden(meals: Counter) -> None:
    """What the test itself raises is what its runner reports."""
    with (
        pytest.raises(ZeroDivisionError),
        assert_metric_increments(f"{meals.name}_total", animal="dog"),
    ):
        _ = 1 / 0


def test_it_works_in_a_unittest(meals: Counter) -> None:
    """A failure is one, not an error, in the standard library's runner."""

    class Case(unittest.TestCase):
        def test(self) -> None:
            with assert_metric_increments(f"{meals.name}_total", animal="dog"):
                pass

    result = unittest.TestResult()
    Case("test").run(result)
    assert [len(result.failures), len(result.errors)] == [1, 0]
