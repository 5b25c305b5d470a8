"""The machine's use of processor and memory, for those who have no node_exporter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

import psutil
from prometheus_client import Metric
from prometheus_client.metrics_core import GaugeMetricFamily

from .registry import Surroundings, register

SHORTEST_SPAN = 0.2


@register("system")
class SystemCollector:
    """Yield ``system_usage`` in percent; CPU is the mean since the scrape before."""

    def __init__(self, surroundings: Surroundings) -> None:
        prefix = surroundings.prefix
        self._name = f"{prefix}system_usage"
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._busy, self._total = read_cpu_times()
        self._cpu_percent: float | None = None

    def collect(self) -> Iterable[Metric]:
        """Yield the one family."""
        family = GaugeMetricFamily(
            self._name,
            "Use of the machine in percent, by resource.",
            labels=["resource_type"],
        )
        family.add_metric(["CPU"], self._measure_cpu())
        family.add_metric(["Memory"], psutil.virtual_memory().percent)
        yield family

    def _measure_cpu(self) -> float:
        """Return CPU use since the last measurement, which a second scrape at once shares.

        Too short a span says nothing; the very first one is waited for.
        """
        with self._lock:
            missing = SHORTEST_SPAN - (time.monotonic() - self._since)
            if missing > 0 and self._cpu_percent is not None:
                return self._cpu_percent
            if missing > 0:
                time.sleep(missing)
            busy, total = read_cpu_times()
            elapsed = total - self._total
            if elapsed > 0:
                percent = 100 * (busy - self._busy) / elapsed
                self._cpu_percent = min(max(percent, 0.0), 100.0)
            self._busy, self._total, self._since = busy, total, time.monotonic()
            return self._cpu_percent or 0.0


def read_cpu_times() -> tuple[float, float]:
    """Return busy and total seconds of all processors since boot.

    Waiting for disks is idle time, and guests are part of user time already.
    """
    times = psutil.cpu_times()._asdict()
    counted = {name: value for name, value in times.items() if not name.startswith("guest")}
    total = sum(counted.values())
    return total - counted["idle"] - counted.get("iowait", 0.0), total
