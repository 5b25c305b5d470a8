"""The machine's basics, measured beside what the kernel says itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.collectors.host import (
    FLOWS,
    HostCollector,
    Interfaces,
    Traffic,
    find_mounts,
    list_paths,
    read_interfaces,
)
from metrics_commands.collectors.registry import Surroundings, make_collectors
from tests.collectors.conftest import AddDatabase
from tests.collectors.gathers import scrape, succeeded
from tests.processes import Samples, sample

SHARED_MEMORY = Path("/dev/shm")


def show(directory: Path | None = None, namespace: str = "") -> Samples:
    """Return what a scrape has of the machine."""
    surroundings = Surroundings(namespace, directory=directory)
    samples = scrape(make_collectors(["host"], surroundings))
    assert succeeded(samples, "host")
    return samples


def test_the_machine_is_shown_in_base_units() -> None:
    """Memory, swap, processors and load are those that the system tells everybody."""
    samples = show()
    memory = psutil.virtual_memory()
    assert sample(samples, "django_host_memory_size_bytes") == memory.total
    available = sample(samples, "django_host_memory_available_bytes") or 0
    assert 0 < available < memory.total
    assert sample(samples, "django_host_swap_size_bytes") == psutil.swap_memory().total
    assert sample(samples, "django_host_swap_used_bytes") is not None
    assert sample(samples, "django_host_cpus") == os.cpu_count()
    for name in ("load1", "load5", "load15"):
        assert (sample(samples, f"django_host_{name}") or 0) >= 0


def test_names_are_the_same_everywhere_and_take_the_namespace() -> None:
    """All is there on every system, so that one dashboard serves them."""
    names = {name for name, _ in show(namespace="zoo") if "host" in name}
    assert names == {
        *(f"zoo_django_host_load{minutes}" for minutes in (1, 5, 15)),
        "zoo_django_host_cpus",
        *(f"zoo_django_host_memory_{what}_bytes" for what in ("size", "available")),
        *(f"zoo_django_host_swap_{what}_bytes" for what in ("size", "used")),
        *(f"zoo_django_host_network_{name}_total" for name in FLOWS),
        *(f"zoo_django_host_disk_{what}_bytes" for what in ("size", "free")),
    }


@pytest.mark.skipif(not SHARED_MEMORY.is_mount(), reason="there is no file system in memory")
def test_each_file_system_is_shown_once(tmp_path: Path) -> None:
    """However many of the project's paths are on a disk, its mount point stands for them."""
    with override_settings(BASE_DIR=tmp_path, MEDIA_ROOT=str(tmp_path / "media" / "missing")):
        samples = show(SHARED_MEMORY / "django" / "metrics")
    sizes = {dict(key[1])["path"] for key in samples if key[0] == "django_host_disk_size_bytes"}
    assert len(sizes) == 2
    assert str(SHARED_MEMORY) in sizes
    space = os.statvfs(SHARED_MEMORY)
    size = sample(samples, "django_host_disk_size_bytes", path=str(SHARED_MEMORY))
    assert size == space.f_blocks * space.f_frsize
    free = sample(samples, "django_host_disk_free_bytes", path=str(SHARED_MEMORY))
    assert free is not None
    assert 0 <= free <= size


def test_no_path_of_the_project_is_shown(tmp_path: Path) -> None:
    """The label is a mount point, never a folder or a link of the project."""
    (tmp_path / "link").symlink_to(tmp_path)
    (mount,) = find_mounts([tmp_path, tmp_path / "link" / "missing", tmp_path / "a" / "b"])
    assert os.path.ismount(mount)
    assert str(tmp_path).startswith(mount)


@pytest.mark.parametrize(
    ("given_settings", "expected"),
    [
        ({"BASE_DIR": None, "MEDIA_ROOT": ""}, []),
        ({"BASE_DIR": "/srv", "MEDIA_ROOT": Path("/media")}, ["/srv", "/media"]),
        ({"BASE_DIR": 5, "MEDIA_ROOT": "uploads"}, []),
    ],
)
def test_paths_come_from_the_settings(
    add_database: AddDatabase, given_settings: dict[str, Any], expected: list[str]
) -> None:
    """Settings that are missing, relative or strange cost nothing; databases in files count."""
    path = add_database("shop")
    with override_settings(**given_settings):
        found = list(list_paths(Path("/run/metrics")))
    assert found == [Path("/run/metrics"), *map(Path, expected), path]


def test_the_loopback_is_not_the_network() -> None:
    """What processes of one machine tell each other is not counted; it is read from the kernel."""
    names = {name for _, name in socket.if_nameindex()}
    shown = set(read_interfaces())
    assert shown <= names
    assert not shown & {"lo", "lo0"}


def replay(readings: Iterable[Interfaces]) -> list[float]:
    """Return the totals of one kind after each reading."""
    left = iter(readings)
    traffic = Traffic(lambda: next(left))
    return [traffic.measure()["bytes_recv"] for _ in readings]


def received(**counts: int) -> Interfaces:
    """Return a reading of some interfaces."""
    return {name: {"bytes_recv": count} for name, count in counts.items()}


def test_interfaces_that_come_and_go_make_no_jump() -> None:
    """A container that ends takes its interface along; what it carried stays in the sum."""
    readings = [
        received(eth0=100, veth=50),
        received(eth0=110),
        received(eth0=120, veth=5),
        received(eth0=20, veth=6),
        {},
    ]
    assert replay(readings) == [150, 160, 175, 196, 196]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 1000)), max_size=8))
def test_a_counter_never_goes_back(counts: list[dict[str, int]]) -> None:
    """Prometheus would take a smaller number for a restart, and count all of it again."""
    totals = replay([received(**each) for each in counts])
    assert totals == sorted(totals)
    assert all(total >= sum(each.values()) for total, each in zip(totals, counts, strict=True))


def test_traffic_is_that_of_the_kernel() -> None:
    """The first scrape shows what the interfaces have carried since they began."""
    before = sum(each["bytes_recv"] for each in read_interfaces().values())
    shown = sample(show(), "django_host_network_receive_bytes_total") or 0
    after = sum(each["bytes_recv"] for each in read_interfaces().values())
    assert before <= shown <= after


def test_a_disk_that_is_gone_costs_nothing(tmp_path: Path) -> None:
    """A folder that is removed while the exporter runs is looked for anew, from its parents."""
    folder = tmp_path / "media"
    folder.mkdir()
    with override_settings(BASE_DIR=folder, MEDIA_ROOT=""):
        collector = HostCollector(Surroundings())
        before = [family.name for family in collector.collect()]
        folder.rmdir()
        assert [family.name for family in collector.collect()] == before
