"""A page of the documented families that a deployment has only with Celery, Redis and the like."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from tests.processes import ROOT

METRICS = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", re.MULTILINE)
MISSING_IN_THE_SHOP = re.compile(
    "celery_|django_task_|django_db_pool_|django_cache_(up|ping|redis)_?"
    "|django_database_(max_)?connections|django_http_requests_cancelled"
    "|django_exporter_(build_info|label_sets_dropped)"
)
# What the queries ask for, and what the shop has as well; any other label has one value.
VALUES = {
    "alias": ("default",),
    "exception": ("", "ValueError"),
    "method": ("GET",),
    "status": ("failed", "ready", "successful"),
    "view": ("shop:index",),
}
BOUNDS = ("0.5", "1.0", "+Inf")


class Page:
    """Counters and histograms that grow by one with each scrape, and gauges that are one."""

    def __init__(self) -> None:
        self._scrapes = 0.0

    def render(self) -> bytes:
        """Return the page of the next scrape."""
        self._scrapes += 1
        registry = CollectorRegistry()
        registry.register(self)
        page: bytes = generate_latest(registry)
        return page

    def collect(self) -> Iterator[Metric]:
        """Yield the families, each with a series for all values of its labels."""
        for name, kind, labels in ROW.findall(METRICS):
            if MISSING_IN_THE_SHOP.match(name):
                family = Metric(name.removesuffix("_total"), "As documented.", kind)
                names = [each for each in labels.strip().split(", ") if each]
                for values in product(*(VALUES.get(each, ("any",)) for each in names)):
                    self._add(family, dict(zip(names, values, strict=True)))
                yield family

    def _add(self, family: Metric, labels: dict[str, str]) -> None:
        if family.type == "histogram":
            for bound in BOUNDS:
                family.add_sample(f"{family.name}_bucket", labels | {"le": bound}, self._scrapes)
            family.add_sample(f"{family.name}_count", labels, self._scrapes)
            family.add_sample(f"{family.name}_sum", labels, self._scrapes / 4)
        elif family.type == "counter":
            family.add_sample(f"{family.name}_total", labels, self._scrapes)
        else:
            family.add_sample(family.name, labels, 1.0)
