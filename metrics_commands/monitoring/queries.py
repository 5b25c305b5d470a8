"""The parts that the dashboards' queries are made of."""

from __future__ import annotations

HERE = ('job=~"$job"', 'instance=~"$instance"')
SPAN = "$__rate_interval"


def select(metric: str, *matchers: str) -> str:
    """Return the series of a metric that the dashboard's variables choose."""
    return f"{metric}{{{', '.join((*HERE, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """Return how much series of a counter grow in a second."""
    return f"rate({select(metric, *matchers)}[{SPAN}])"


def increase(metric: str, *matchers: str) -> str:
    """Return how much series of a counter grow in the time that the dashboard shows."""
    return f"increase({select(metric, *matchers)}[$__range])"


def add_up(expression: str, *labels: str) -> str:
    """Return the sum of series, one for each value of the labels."""
    return f"{_aggregate('sum', labels)} ({expression})"


def largest(expression: str, *labels: str) -> str:
    """Return the largest of series; several exporters may tell the same."""
    return f"{_aggregate('max', labels)} ({expression})"


def or_zero(expression: str) -> str:
    """Return a sum, and 0 where nothing was counted yet."""
    return f"({expression} or vector(0))"


def top(count: int, expression: str) -> str:
    """Return the largest series."""
    return f"topk({count}, {expression})"


def divide(part: str, whole: str) -> str:
    """Return a share or a mean; nothing where there is no whole."""
    return f"{part} / ({whole} > 0)"


def quantile(share: float, histogram: str, *matchers: str, by: tuple[str, ...] = ()) -> str:
    """Return a quantile of a histogram, one for each value of the labels."""
    buckets = add_up(rate(f"{histogram}_bucket", *matchers), *by, "le")
    return f"histogram_quantile({share}, {buckets})"


def quantiles(histogram: str, *matchers: str) -> dict[str, str]:
    """Return the three quantiles that are looked at, by their legends."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {name: quantile(share, histogram, *matchers) for name, share in shares.items()}


def mean(summary: str, *matchers: str, by: tuple[str, ...] = ()) -> str:
    """Return the mean of what a histogram or summary has seen."""
    total = add_up(rate(f"{summary}_sum", *matchers), *by)
    return divide(total, add_up(rate(f"{summary}_count", *matchers), *by))


def _aggregate(operation: str, labels: tuple[str, ...]) -> str:
    return f"{operation} by ({', '.join(labels)})" if labels else operation
