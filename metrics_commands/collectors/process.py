"""The standard ``process_*`` families of the exporter's own process."""

from __future__ import annotations

from collections.abc import Iterable

import psutil
from prometheus_client import Metric, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .registry import Surroundings, register


@register("process")
class ExporterProcessCollector:
    """Yield ``process_*`` by prometheus_client, or by psutil where there is no /proc."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._collector = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Metric]:
        """Return the families of this moment."""
        return list(self._collector.collect()) or collect_by_psutil()


def collect_by_psutil() -> list[Metric]:
    """Return the same names and help texts by psutil, as far as the system tells them."""
    process = psutil.Process()
    with process.oneshot():
        memory = process.memory_info()
        cpu = process.cpu_times()
        families: list[Metric] = [
            _gauge("virtual_memory_bytes", "Virtual memory size in bytes.", memory.vms),
            _gauge("resident_memory_bytes", "Resident memory size in bytes.", memory.rss),
            _gauge(
                "start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                process.create_time(),
            ),
            CounterMetricFamily(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
                value=cpu.user + cpu.system,
            ),
            _gauge("open_fds", "Number of open file descriptors.", process.num_fds()),
        ]
    limit = _descriptor_limit()
    if limit is not None:
        families.append(_gauge("max_fds", "Maximum number of open file descriptors.", limit))
    return families


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"process_{name}", documentation, value=value)


def _descriptor_limit() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
