"""What each process that counts takes, by pid: to find one that differs, not to be left on."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .registry import Surroundings, register
from .workers import Sight, list_workers

LABELS = ["role", "pid"]


@register("worker_processes")
class WorkerProcessesCollector:
    """Yield a series for each process that this one can see, of each role."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._prefix = f"{surroundings.prefix}django_worker"
        self._files = surroundings.value_files
        self._sight = Sight()

    def collect(self) -> Iterator[Metric]:
        """Yield nothing where there is no metrics directory."""
        if self._files is None:
            return
        name = f"{self._prefix}_process"
        cpu = CounterMetricFamily(
            f"{name}_cpu_seconds", "CPU time of a worker, user and system.", labels=LABELS
        )
        memory = _gauge(f"{name}_resident_memory_bytes", "Resident memory of a worker.")
        open_fds = _gauge(f"{name}_open_fds", "Open file descriptors of a worker.")
        threads = _gauge(f"{name}_threads", "Threads of a worker.")
        start = _gauge(f"{name}_start_time_seconds", "When a worker began, in Unix time.")
        seen, _ = self._sight.look(list_workers(self._files, self._prefix).living)
        for worker, figures in sorted(seen.items(), key=lambda item: item[0].pid):
            labels = [worker.role, str(worker.pid)]
            cpu.add_metric(labels, figures.cpu_seconds)
            memory.add_metric(labels, figures.resident_memory)
            if figures.open_fds is not None:
                open_fds.add_metric(labels, figures.open_fds)
            threads.add_metric(labels, figures.threads)
            start.add_metric(labels, figures.start_time)
        yield from (cpu, memory, open_fds, threads, start)


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=LABELS)
