"""An application with metrics of every type, and readers of its numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import prometheus_client.values
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary
from prometheus_client.multiprocess import MultiProcessCollector

from metrics_commands.multiprocess.identity import worker_identity
from metrics_commands.multiprocess.reader import DirectoryReader
from metrics_commands.multiprocess.value_file import ValueFile

GAUGE_MODES = ("all", "min", "max", "sum", "mostrecent", "liveall", "livesum")

# A family's type and help, and its samples with their labels.
Families = dict[str, tuple[str, str, dict[tuple[str, frozenset[tuple[str, str]]], float]]]


def run_workers(directory: Path, workers: int) -> None:
    """Make metrics, then count in the parent and in forks, as a preloading server does."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values: Any = prometheus_client.values
    values.MmapedDict = ValueFile
    values.ValueClass = values.MultiProcessValue(worker_identity)
    metrics = _Metrics()
    metrics.count(0)
    for number in range(1, workers):
        pid = os.fork()
        if not pid:
            metrics.count(number)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


class _Metrics:
    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.counter = Counter("orders", "Orders\nin é", ["kind"], registry=registry)
        self.summary = Summary("size_bytes", "Size", registry=registry)
        self.histogram = Histogram(
            "wait_seconds", "Wait", ["kind"], buckets=(0.1, 1, 10), registry=registry
        )
        self.gauges = {
            mode: Gauge(f"depth_{mode}", "Depth", multiprocess_mode=mode, registry=registry)  # type: ignore[arg-type]
            for mode in GAUGE_MODES
        }

    def count(self, number: int) -> None:
        for _ in range(10):
            self.counter.labels('a "quoted" \\ kind').inc()
        self.counter.labels(f"of worker {number % 2}").inc(0.5)
        self.summary.observe(100)
        for seconds in (0.05, 0.5, 5, 50):
            self.histogram.labels("any").observe(seconds)
        for gauge in self.gauges.values():
            gauge.set(number + 1)


def flatten(families: list[Metric]) -> Families:
    """Return families in a form that can be compared, whatever the order of their samples."""
    return {
        family.name: (
            family.type,
            family.documentation,
            {(each.name, frozenset(each.labels.items())): each.value for each in family.samples},
        )
        for family in families
    }


def read_ours(directory: Path) -> Families:
    """Return what the exporter serves."""
    return flatten(list(DirectoryReader(directory).read().families()))


def read_theirs(directory: Path) -> Families:
    """Return what prometheus_client's own collector makes of the directory."""
    collector = MultiProcessCollector(None, str(directory))  # type: ignore[no-untyped-call]
    return flatten(list(collector.collect()))  # type: ignore[no-untyped-call]
