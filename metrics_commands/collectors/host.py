"""Basics of the machine, for those who have no node_exporter; off unless switched on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
from django.conf import settings
from django.db import connections
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .registry import Surroundings, register

# A file system of a network that is gone never answers.
TIMEOUT_SECONDS = 5.0
IN_FILES = ("sqlite3", "spatialite")
FLOWS = {
    "receive_bytes": ("bytes_recv", "Bytes received"),
    "transmit_bytes": ("bytes_sent", "Bytes sent"),
    "receive_errors": ("errin", "Errors while receiving"),
    "transmit_errors": ("errout", "Errors while sending"),
}

Interfaces = dict[str, dict[str, int]]


@register("host")
class HostCollector:
    """Yield load, processors, memory, network, and the disks that the project's paths are on."""

    timeout = TIMEOUT_SECONDS

    def __init__(self, surroundings: Surroundings) -> None:
        self._prefix = surroundings.prefix
        self._paths = list(list_paths(surroundings.directory))
        self._traffic = Traffic()

    def collect(self) -> Iterator[Metric]:
        """Yield the families of this moment; the disks, which may not answer, come last."""
        for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
            help_text = f"Load average of the machine over {minutes} min."
            yield self._make(f"load{minutes}", help_text, load)
        yield self._make("cpus", "Logical processors of the machine.", psutil.cpu_count() or 0)
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        yield self._make("memory_size_bytes", "Memory of the machine.", memory.total)
        help_text = "Memory that processes can have without swapping."
        yield self._make("memory_available_bytes", help_text, memory.available)
        yield self._make("swap_size_bytes", "Swap space of the machine.", swap.total)
        yield self._make("swap_used_bytes", "Swap space in use.", swap.used)
        yield from self._show_traffic()
        yield from self._show_disks()

    def _make(self, name: str, documentation: str, value: float) -> Metric:
        return GaugeMetricFamily(f"{self._prefix}django_host_{name}", documentation, value=value)

    def _show_traffic(self) -> Iterator[Metric]:
        totals = self._traffic.measure()
        for name, (attribute, what) in FLOWS.items():
            yield CounterMetricFamily(
                f"{self._prefix}django_host_network_{name}",
                f"{what} by all network interfaces but the loopback.",
                value=totals[attribute],
            )

    def _show_disks(self) -> Iterable[Metric]:
        prefix = f"{self._prefix}django_host_disk"
        size = GaugeMetricFamily(
            f"{prefix}_size_bytes",
            "Size of the file systems that the project uses, by mount point.",
            labels=["path"],
        )
        free = GaugeMetricFamily(
            f"{prefix}_free_bytes",
            "What users other than root may still write there.",
            labels=["path"],
        )
        for mount in find_mounts(self._paths):
            usage = psutil.disk_usage(mount)
            size.add_metric([mount], usage.total)
            free.add_metric([mount], usage.free)
        return size, free


def read_interfaces() -> Interfaces:
    """Return the counts of each network interface but the loopback, as the kernel has them."""
    states = psutil.net_if_stats()
    return {
        name: counts._asdict()
        for name, counts in psutil.net_io_counters(pernic=True, nowrap=False).items()
        if name not in states or "loopback" not in states[name].flags.split(",")
    }


class Traffic:
    """What the network interfaces have carried; never less than before, as some come and go."""

    def __init__(self, read: Callable[[], Interfaces] = read_interfaces) -> None:
        self._read = read
        self._totals: Counter[str] = Counter()
        self._last: Interfaces = {}

    def measure(self) -> Counter[str]:
        """Return the sums since the machine began, of the interfaces that were seen."""
        now = self._read()
        for name, counts in now.items():
            before = self._last.get(name, {})
            for what, count in counts.items():
                since = before.get(what, 0)
                # Less than before is an interface that began anew.
                self._totals[what] += count - since if count >= since else count
        self._last = now
        return self._totals


def list_paths(directory: Path | None) -> Iterator[Path]:
    """Yield where the project keeps its files."""
    given = [getattr(settings, name, None) for name in ("BASE_DIR", "MEDIA_ROOT")]
    given += [
        each.get("NAME")
        for each in connections.settings.values()
        if str(each.get("ENGINE")).endswith(IN_FILES)
    ]
    for path in [directory, *given]:
        # A database in memory has a name that is no path.
        if isinstance(path, str | os.PathLike) and os.path.isabs(path):
            yield Path(path)


def find_mounts(paths: Iterable[Path]) -> list[str]:
    """Return the mount points that paths are below, one for each file system."""
    mounts: dict[int, str] = {}
    for path in paths:
        mount = os.path.realpath(path)
        while not os.path.ismount(mount):
            mount = os.path.dirname(mount)
        mounts.setdefault(os.stat(mount).st_dev, mount)
    return sorted(mounts.values())
