"""The exporter's own process, by the two ways there are to look at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import Metric, ProcessCollector

from metrics_commands.collectors.process import ExporterProcessCollector, collect_by_psutil
from metrics_commands.collectors.registry import Surroundings
from metrics_commands.exposition.encoding import encode
from tests.processes import parse_samples, sample

NAMES = {
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
}


def list_heads(families: list[Metric]) -> set[tuple[str, str, str]]:
    """Return what a page says above the samples."""
    return {(each.name, each.type, each.documentation) for each in families}


def test_the_standard_names_are_there() -> None:
    """Dashboards made for any Prometheus client find this process too."""
    families = list(ExporterProcessCollector(Surroundings()).collect())
    samples = parse_samples(encode(families).decode())
    assert {name for name, _ in samples} == NAMES


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_psutil_tells_the_same_as_proc() -> None:
    """On macOS every name, type, help text and unit is the one known from Linux."""
    by_proc = list(ProcessCollector(registry=None).collect())
    by_psutil = collect_by_psutil()
    assert list_heads(by_psutil) == list_heads(by_proc)
    expected, samples = (parse_samples(encode(each).decode()) for each in (by_proc, by_psutil))
    tolerances = dict.fromkeys(NAMES, 2.0) | {
        "process_virtual_memory_bytes": 64e6,
        "process_resident_memory_bytes": 16e6,
        "process_open_fds": 8.0,
        "process_max_fds": 0.0,
    }
    for name, tolerance in tolerances.items():
        assert sample(samples, name) == pytest.approx(sample(expected, name), abs=tolerance), name


def test_without_proc_psutil_takes_over(tmp_path: Path) -> None:
    """Where prometheus_client sees no /proc the families are there all the same."""
    collector = ExporterProcessCollector(Surroundings())
    collector._collector = ProcessCollector(registry=None, proc=str(tmp_path))
    samples = parse_samples(encode(collector.collect()).decode())
    assert {name for name, _ in samples} == NAMES


def test_open_descriptors_are_counted_at_the_scrape() -> None:
    """A leak of descriptors in the exporter would be seen."""
    before = sample(parse_samples(encode(collect_by_psutil()).decode()), "process_open_fds")
    descriptors = os.pipe()
    after = sample(parse_samples(encode(collect_by_psutil()).decode()), "process_open_fds")
    for descriptor in descriptors:
        os.close(descriptor)
    assert before is not None
    assert after == before + 2
