"""The processes that count, by role: how many, and what those take that this process can see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import psutil
from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .registry import Surroundings, ValueFiles, Worker, Workers, register
from .run import RefusedError


class Figures(NamedTuple):
    """What a process takes; ``open_fds`` is None where only its own user may know."""

    cpu_seconds: float
    resident_memory: int
    open_fds: int | None
    threads: int
    start_time: float


@register("workers")
class WorkersCollector:
    """Yield the families by role; those of processes only where all of a role can be seen."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._prefix = f"{surroundings.prefix}django_worker"
        self._files = surroundings.value_files
        self._sight = Sight()
        self._time = ProcessorTime()

    def collect(self) -> Iterator[Metric]:
        """Yield nothing where there is no metrics directory."""
        if self._files is None:
            return
        workers = list_workers(self._files, self._prefix)
        yield from count(self._prefix, workers)
        seen, hidden = self._sight.look(workers.living)
        seconds = self._time.add(seen)
        roles = {role: each for role, each in group(seen).items() if role not in hidden}
        shown = {role: each for role, each in seconds.items() if role not in hidden}
        yield from sum_up(self._prefix, shown, roles)


def list_workers(files: ValueFiles, prefix: str) -> Workers:
    """Return the processes, or raise where the directory, as the log has it, does not tell all."""
    workers = files.list_workers(f"{prefix}_starts")
    if files.problem:
        raise RefusedError(files.problem)
    return workers


def count(prefix: str, workers: Workers) -> Iterable[Metric]:
    """Return how many live, began and died; a role that has begun once stays."""
    living = GaugeMetricFamily(f"{prefix}s", "Processes that count, and live.", labels=["role"])
    starts = CounterMetricFamily(
        f"{prefix}_starts", "Processes that have begun to count.", labels=["role"]
    )
    deaths = CounterMetricFamily(
        f"{prefix}_deaths", "Processes that counted, and have ended in any way.", labels=["role"]
    )
    for role, begun in sorted(workers.starts.items()):
        alive = sum(each.role == role for each in workers.living)
        living.add_metric([role], alive)
        starts.add_metric([role], begun)
        deaths.add_metric([role], max(0.0, begun - alive))
    return living, starts, deaths


class Sight:
    """What can be seen of processes; those that live are looked up once."""

    def __init__(self) -> None:
        self._processes: dict[str, psutil.Process] = {}

    def look(self, workers: Iterable[Worker]) -> tuple[dict[Worker, Figures], set[str]]:
        """Return what the workers take, and the roles of which one or more cannot be seen."""
        known, self._processes = self._processes, {}
        seen: dict[Worker, Figures] = {}
        hidden = set()
        for worker in workers:
            try:
                if worker.pid:
                    process = known.get(worker.process) or psutil.Process(worker.pid)
                    self._processes[worker.process] = process
                    seen[worker] = measure(process)
                else:
                    hidden.add(worker.role)
            except psutil.NoSuchProcess:
                # It has ended just now.
                continue
            except psutil.AccessDenied:
                hidden.add(worker.role)
        return seen, hidden


def measure(process: psutil.Process) -> Figures:
    """Return what a process takes, as far as it is cheap to know."""
    with process.oneshot():
        cpu = process.cpu_times()
        try:
            open_fds = process.num_fds()
        except psutil.AccessDenied:
            open_fds = None
        return Figures(
            cpu.user + cpu.system,
            process.memory_info().rss,
            open_fds,
            process.num_threads(),
            process.create_time(),
        )


class ProcessorTime:
    """Seconds by role, which never decrease: of a process that ends, what was last seen stays.

    What a worker used before the first look at all is left out: it would be a leap whenever
    the exporter starts anew. What the others used since they began is theirs.
    """

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._last: dict[str, float] | None = None

    def add(self, seen: Mapping[Worker, Figures]) -> Mapping[str, float]:
        """Add what has been used since the last look; return the totals."""
        now = {worker.process: figures.cpu_seconds for worker, figures in seen.items()}
        last = now if self._last is None else self._last
        for worker in seen:
            used = max(0.0, now[worker.process] - last.get(worker.process, 0.0))
            self._totals[worker.role] = self._totals.get(worker.role, 0.0) + used
        self._last = now
        return dict(self._totals)


def group(seen: Mapping[Worker, Figures]) -> dict[str, list[Figures]]:
    """Return the figures by role."""
    roles: dict[str, list[Figures]] = {}
    for worker, figures in sorted(seen.items(), key=lambda item: item[0].role):
        roles.setdefault(worker.role, []).append(figures)
    return roles


def sum_up(
    prefix: str, seconds: Mapping[str, float], roles: Mapping[str, Collection[Figures]]
) -> Iterator[Metric]:
    """Yield what the workers of each role take together."""
    cpu = CounterMetricFamily(
        f"{prefix}_cpu_seconds",
        "CPU time of workers, user and system, since the exporter first saw any.",
        labels=["role"],
    )
    for role, total in sorted(seconds.items()):
        cpu.add_metric([role], total)
    memory = _gauge(
        f"{prefix}_resident_memory_bytes",
        "Resident memory of all workers; what they share counts in each.",
    )
    largest = _gauge(
        f"{prefix}_resident_memory_max_bytes", "Resident memory of the worker that has most."
    )
    open_fds = _gauge(f"{prefix}_open_fds", "Open file descriptors of all workers.")
    threads = _gauge(f"{prefix}_threads", "Threads of all workers.")
    oldest = _gauge(
        f"{prefix}_oldest_start_time_seconds", "When the oldest living worker began, in Unix time."
    )
    for role, figures in roles.items():
        memory.add_metric([role], sum(each.resident_memory for each in figures))
        largest.add_metric([role], max(each.resident_memory for each in figures))
        known = [each.open_fds for each in figures if each.open_fds is not None]
        if len(known) == len(figures):
            open_fds.add_metric([role], sum(known))
        threads.add_metric([role], sum(each.threads for each in figures))
        oldest.add_metric([role], min(each.start_time for each in figures))
    yield from (cpu, memory, largest, open_fds, threads, oldest)


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=["role"])
