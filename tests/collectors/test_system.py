"""The machine's use of processor and memory."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psutil
import pytest

from metrics_commands.collectors.registry import Surroundings
from metrics_commands.collectors.system import SystemCollector, read_cpu_times
from tests.processes import wait_until


def burn(seconds: float) -> None:
    """Use that much processor time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(1000))


def read(collector: SystemCollector) -> dict[str, float]:
    """Return the percentages by resource."""
    (family,) = collector.collect()
    return {each.labels["resource_type"]: each.value for each in family.samples}


@pytest.mark.parametrize(
    ("namespace", "name"), [("", "system_usage"), ("shop", "shop_system_usage")]
)
def test_the_family_stands_under_the_namespace(namespace: str, name: str) -> None:
    """A query for the configured name finds one gauge with both resources."""
    (family,) = SystemCollector(Surroundings(namespace)).collect()
    assert (family.name, family.type) == (name, "gauge")
    assert [each.labels for each in family.samples] == [
        {"resource_type": "CPU"},
        {"resource_type": "Memory"},
    ]
    assert all(0 <= each.value <= 100 for each in family.samples)
    assert family.samples[1].value > 0


def test_the_first_reading_shows_what_the_processor_did() -> None:
    """Right after the start a busy machine is not shown as idle."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            wait_until(lambda: psutil.Process(busy.pid).cpu_times().user > 0.05)
            assert 0 < read(SystemCollector(Surroundings()))["CPU"] <= 100
        finally:
            busy.kill()


def test_two_scrapes_at_once_show_the_same_use() -> None:
    """A second Prometheus neither takes the interval from the first nor measures an empty one."""
    collector = SystemCollector(Surroundings())
    burn(0.1)
    start = threading.Barrier(4)
    seen: list[float] = []

    def scrape() -> None:
        start.wait()
        seen.append(read(collector)["CPU"])

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert 0 < seen[0] <= 100


def test_busy_time_is_part_of_all_time_and_grows_with_work() -> None:
    """The percentage is made of the machine's own clock ticks."""
    busy_before, total_before = read_cpu_times()
    burn(0.1)
    busy, total = read_cpu_times()
    assert 0 < busy - busy_before <= total - total_before
