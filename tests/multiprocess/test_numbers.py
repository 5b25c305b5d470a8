"""Numbers reached by position: files that grow under their writer, full disks, and memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from metrics_commands.multiprocess.archive import read_entries
from metrics_commands.multiprocess.numbers import NumberFile, Numbers, NumbersInMemory
from tests.multiprocess.somebody import Somebody, needs_root

BATCH = 7


def key(name: str) -> str:
    """Return a counter's key as files have it."""
    return json.dumps([name, f"{name}_total", {}, "Help."], sort_keys=True)


def count(numbers: Numbers, names: list[str], rounds: int) -> dict[str, int]:
    """Add each name's place in the list to its number, so many times; return the positions."""
    positions: dict[str, int] = {}
    for _ in range(rounds):
        for index, name in enumerate(names):
            if name not in positions:
                [positions[name]] = numbers.add([key(name)])
            numbers.view[positions[name]] += index
    return positions


def read(directory: Path) -> dict[str, float]:
    """Return the totals that a plain reader of the format sees."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400), st.integers(1, 3))
def test_a_file_grows_and_keeps_all_numbers(
    tmp_path_factory: pytest.TempPathFactory, amount: int, rounds: int
) -> None:
    """However many series come, a plain reader of the format sees each with its own total."""
    directory = tmp_path_factory.mktemp("numbers")
    numbers = NumberFile(str(directory / "counter_1.db"))
    names = [f"name{index}" for index in range(amount)]
    count(numbers, names, rounds)
    expected = {f"{name}_total": float(index * rounds) for index, name in enumerate(names)}
    assert read(directory) == expected
    numbers.close()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1500))
def test_memory_grows_and_keeps_all_numbers(amount: int) -> None:
    """Without a directory numbers are kept as well, each apart from the others."""
    numbers = NumbersInMemory()
    names = [f"name{index}" for index in range(amount)]
    positions = count(numbers, names, 2)
    assert len(set(positions.values())) == amount
    assert [numbers.view[positions[name]] for name in names] == [2.0 * i for i in range(amount)]


def fill(directory: Path) -> tuple[int, float]:
    """Add numbers until the disk is full, and count on; return how many there are, and the sum."""
    numbers = NumberFile(str(directory / "counter_1.db"))
    positions: list[int] = []
    while added := numbers.add([key(f"{'long' * 20}{len(positions)}{n}") for n in range(BATCH)]):
        for position in added:
            numbers.view[position] += 1.0
        positions += added
    for position in positions:
        numbers.view[position] += 1.0
    return len(positions), sum(numbers.view[position] for position in positions)


@needs_root
def test_a_full_disk_refuses_what_is_new_and_keeps_what_is_there(small_disk: Path) -> None:
    """What the disk has room for goes on; the writer is told of the rest, and does not die."""
    amount, total = Somebody().call(fill, small_disk)
    assert amount > 10
    assert total == 2.0 * amount
    seen = read(small_disk)
    assert (len(seen), sum(seen.values())) == (amount, total)


def add_batches(folder: Path, enough: Path) -> None:
    """Add numbers, so many at once, to one file after the other until there are enough."""
    for turn in range(1000):
        numbers = NumberFile(str(folder / f"histogram_{turn}.db"))
        for number in range(1000):
            numbers.add([key(f"name{number}_{each}") for each in range(BATCH)])
        if enough.exists():
            break


def test_what_is_added_together_is_seen_together(tmp_path: Path) -> None:
    """At no moment does a reader see a histogram with some of its buckets."""
    seen: set[int] = set()
    enough = tmp_path / "enough"
    with Somebody().start(add_batches, tmp_path, enough) as writer:
        while len(seen) < 20 and writer.poll() is None:
            for latest in sorted(tmp_path.glob("*.db"), key=os.path.getmtime)[-1:]:
                seen.add(len(read_entries(latest)[1]))
        enough.touch()
    assert len(seen) > 1
    assert {count % BATCH for count in seen} == {0}


def test_a_file_that_cannot_be_made_has_no_positions(tmp_path: Path) -> None:
    """Where there is no directory, each number is refused, and nothing is raised."""
    numbers = NumberFile(str(tmp_path / "missing" / "counter_1.db"))
    assert numbers.add([key("name")]) == []
    numbers.close()
