"""The collectors of workers, over real processes that come, work and go."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from metrics_commands.collectors.registry import Collector, CollectorSet, Surroundings
from metrics_commands.collectors.worker_processes import WorkerProcessesCollector
from metrics_commands.collectors.workers import WorkersCollector
from metrics_commands.multiprocess.identity import boot_id, new_identity
from metrics_commands.multiprocess.reader import DirectoryReader
from tests.collectors.gathers import scrape, succeeded
from tests.multiprocess.begun import begin, come_and_go, staying
from tests.multiprocess.folds import make_folder, make_key, write_counters
from tests.multiprocess.somebody import NOBODY, Somebody, forks, needs_root
from tests.processes import Samples, sample, wait_until

GATHERS = 10_000
SCRAPES = 200
DEATHS = 30
CPU = "django_worker_cpu_seconds_total"
COUNTS = ("django_workers", "django_worker_starts_total", "django_worker_deaths_total")
FIGURES = {
    CPU,
    "django_worker_resident_memory_bytes",
    "django_worker_resident_memory_max_bytes",
    "django_worker_open_fds",
    "django_worker_threads",
    "django_worker_oldest_start_time_seconds",
}


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory for value files that all users may read, unlike pytest's own."""
    with TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        path = place / "metrics"
        path.mkdir(mode=0o755)
        yield path
    forks.stop()


def make(directory: Path) -> WorkersCollector:
    """Return a collector of an exporter's that folds this directory."""
    reader = DirectoryReader(directory)
    reader.folder = make_folder(directory)
    return WorkersCollector(Surroundings(value_files=reader))


def read(collector: Collector) -> Samples:
    """Return what a collector yields now."""
    samples: Samples = {}
    for family in collector.collect():
        for each in getattr(family, "samples", ()):
            samples[each.name, frozenset(each.labels.items())] = each.value
    return samples


def count(samples: Samples, role: str) -> tuple[float | None, ...]:
    """Return how many of a role live, began and died."""
    return tuple(sample(samples, name, role=role) for name in COUNTS)


def names(samples: Samples, role: str) -> set[str]:
    """Return the families that have something of a role."""
    return {name for name, labels in samples if ("role", role) in labels}


def test_what_workers_take_is_added_up_by_role(directory: Path) -> None:
    """Memory, files and threads are what psutil tells of the same processes, and no pid is told."""
    with staying(directory) as first, staying(directory) as second, staying(directory, "task"):
        samples = read(make(directory))
        processes = [psutil.Process(each.pid) for each in (first, second)]
        memory = [each.memory_info().rss for each in processes]
        expected = {
            "django_worker_resident_memory_bytes": sum(memory),
            "django_worker_resident_memory_max_bytes": max(memory),
            "django_worker_open_fds": sum(each.num_fds() for each in processes),
            "django_worker_threads": 2,
            "django_worker_oldest_start_time_seconds": min(e.create_time() for e in processes),
            CPU: 0,
        }
        assert {name: sample(samples, name, role="web") for name in FIGURES} == expected
        assert count(samples, "web") == (2, 2, 0)
        assert names(samples, "task") == {*COUNTS, *FIGURES}
        assert {label for _, labels in samples for label, _ in labels} == {"role"}


def test_roles_of_which_one_cannot_be_seen_are_only_counted(directory: Path) -> None:
    """Half a sum would look like a whole one; other roles are shown as ever."""
    other = begin(directory, "web", f"7-7-7-{boot_id()}-abcdef")
    with staying(directory, "web"), staying(directory, "task"):
        samples = read(make(directory))
        assert count(samples, "web") == (2, 2, 0)
        assert names(samples, "web") == set(COUNTS)
        assert names(samples, "task") == {*COUNTS, *FIGURES}
        collector = WorkerProcessesCollector(Surroundings(value_files=DirectoryReader(directory)))
        assert len(names(read(collector), "web")) == 5
    other.close()


@needs_root
def test_of_other_users_files_nobody_asks(directory: Path) -> None:
    """An exporter of another user shows all but the open files."""
    with staying(directory):
        samples = Somebody(NOBODY).call(read_as_other, directory)
        assert names(samples, "web") == {*COUNTS, *FIGURES} - {"django_worker_open_fds"}


def read_as_other(directory: Path) -> Samples:
    """Return what an exporter of this user shows."""
    reader = DirectoryReader(directory)
    samples = read(WorkersCollector(Surroundings(value_files=reader)))
    assert read(WorkerProcessesCollector(Surroundings(value_files=reader)))
    return samples


def test_each_process_has_series_on_request(directory: Path) -> None:
    """The collector that is off by default tells the pid of whatever differs."""
    collector = WorkerProcessesCollector(Surroundings(value_files=DirectoryReader(directory)))
    with staying(directory, "web") as process, staying(directory, "task"):
        samples, pid = read(collector), str(process.pid)
        memory = psutil.Process(process.pid).memory_info().rss
        name = "django_worker_process_resident_memory_bytes"
        assert sample(samples, name, role="web", pid=pid) == memory
        assert len(samples) == 2 * 5
        process.kill()
        process.wait()
        assert {dict(labels)["role"] for _, labels in read(collector)} == {"task"}


def test_names_have_the_namespace_of_the_project(directory: Path) -> None:
    """Workers that write under a prefix are found and shown under it."""
    metric = "shop_django_worker_starts"
    key = make_key(metric, f"{metric}_total", role="web")
    write_counters(directory, new_identity(), {key: 1.0}).close()
    surroundings = Surroundings("shop", DirectoryReader(directory))
    for collector in (WorkersCollector(surroundings), WorkerProcessesCollector(surroundings)):
        assert all(name.startswith("shop_django_worker") for name in names(read(collector), "web"))
        assert read(collector)
    assert read(make(directory)) == {}


def test_without_a_directory_there_is_nothing() -> None:
    """Where there are no value files nobody is counted."""
    assert read(WorkersCollector(Surroundings())) == {}
    assert read(WorkerProcessesCollector(Surroundings())) == {}


def test_a_directory_that_is_gone_counts_nobody_as_dead(directory: Path) -> None:
    """The collector fails, and works again when the directory is back."""
    collectors = CollectorSet({"workers": make(directory)})
    with staying(directory):
        assert count(scrape(collectors), "web") == (1, 1, 0)
        shutil.move(directory, f"{directory}.away")
        samples = scrape(collectors)
        assert not succeeded(samples, "workers")
        assert count(samples, "web") == (None, None, None)
        shutil.move(f"{directory}.away", directory)
        assert count(scrape(collectors), "web") == (1, 1, 0)


def test_cpu_time_begins_with_the_exporter(directory: Path) -> None:
    """What was used before is no leap, what a newcomer used is its role's, and it stays."""
    collector = make(directory)
    with staying(directory):
        assert sample(read(collector), CPU, role="web") == 0
        with staying(directory) as newcomer:
            seconds = sample(read(collector), CPU, role="web")
            times = psutil.Process(newcomer.pid).cpu_times()
            assert seconds == pytest.approx(times.user + times.system, abs=0.05)
            assert seconds
    assert sample(read(collector), CPU, role="web") == pytest.approx(seconds, abs=0.05)
    assert names(read(collector), "web") == {*COUNTS, CPU}


def test_cpu_time_never_goes_down(directory: Path) -> None:
    """Over two hundred scrapes, while processes work, end and are killed, each count only grows."""
    stop = directory.parent / "stop"
    collector = make(directory)
    growing = (CPU, *COUNTS[1:])
    before = dict.fromkeys(growing, 0.0)
    with Somebody().start(come_and_go, directory, "web", stop, 3, 0.01) as process:
        wait_until(lambda: sample(read(collector), CPU, role="web"))
        scrapes = 0
        while scrapes < SCRAPES or before["django_worker_deaths_total"] < DEATHS:
            scrapes += 1
            samples = read(collector)
            now = {name: sample(samples, name, role="web") or 0.0 for name in growing}
            assert all(now[name] >= before[name] for name in growing)
            alive, starts, deaths = count(samples, "web")
            assert (alive or 0) <= 3
            assert starts == (alive or 0) + (deaths or 0)
            before = now
        stop.touch()
        output, said = process.communicate(timeout=30)
        assert process.returncode == 0, said.decode()
    started = pickle.loads(output)
    assert count(read(collector), "web") == (0, started, started)
    assert before[CPU] > 0


def count_descriptors() -> int:
    """Return how many files and sockets are open."""
    return len(os.listdir("/proc/self/fd"))


def fold_and_count(reader: DirectoryReader, collector: WorkersCollector) -> int:
    """Fold what the dead left; return how many descriptors are open then."""
    assert reader.folder is not None
    reader.folder.run_pass()
    read(collector)
    return count_descriptors()


def test_ten_thousand_gathers_leave_nothing_behind(directory: Path) -> None:
    """However many processes come and go, an exporter that looks at them does not grow."""
    stop = directory.parent / "stop"
    reader = DirectoryReader(directory)
    reader.folder = make_folder(directory)
    collector = WorkersCollector(Surroundings(value_files=reader))
    read(collector)
    descriptors, blocks = count_descriptors(), []
    with Somebody().start(come_and_go, directory, "task", stop, 1, 0.0) as process:
        for number in range(GATHERS):
            samples = read(collector)
            if number % 200 == 0:
                reader.folder.run_pass()
            if number % 1000 == 999:
                gc.collect()
                blocks.append(sys.getallocatedblocks())
        stop.touch()
        output, said = process.communicate(timeout=30)
        assert process.returncode == 0, said.decode()
    assert pickle.loads(output) > 100
    assert (count(samples, "task")[1] or 0) > 100
    # One object for each gather would be twice as many; what is kept of numbers has bounds.
    assert max(blocks[5:]) < max(blocks[:5]) + GATHERS / 4
    wait_until(lambda: fold_and_count(reader, collector) <= descriptors + 10)
