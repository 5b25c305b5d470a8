"""Compare a scrape with prometheus_client's, from value files to the bytes of the page.

Both sides run in turns, in fresh processes where a first scrape or memory is measured. The pages
are compared before anything is timed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.deployment import hold_workers, read_used, write_worker
from benchmarks.side import SIDES, make_folder, make_scrape

ROUNDS = 9
FRESH_ROUNDS = 5
LIVE = 16
DEAD = 2000
DEAD_VIEWS = 7
LIVE_VIEWS = 50


def main() -> None:
    """Run every case and print it."""
    for workers, views in ((16, 200), (64, 50)):
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder)
            samples = sum(
                write_worker(directory, str(number), views, number) for number in range(workers)
            )
            print(f"\n{workers} workers × {views} views × 2 methods, {samples} samples")
            compare_scrapes(directory)
            compare_first_scrapes(directory)
    with tempfile.TemporaryDirectory() as folder:
        measure_folding(Path(folder))


def measure(work: Callable[[], object]) -> float:
    """Return how many milliseconds it takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def compare_scrapes(directory: Path) -> None:
    """Print a scrape after the first one on both sides, and the floor."""
    scrapes = {side: make_scrape(side, directory) for side in SIDES}
    pages = {side: scrape() for side, scrape in scrapes.items()}
    page = pages["ours"]
    assert samples_of(page) == samples_of(pages["peer"])
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    floor = []
    for _ in range(ROUNDS):
        for side, scrape in scrapes.items():
            times[side].append(measure(scrape))
        floor.append(measure(lambda: read_used(directory)) + measure(lambda: bytearray(page)))
    ours, peer = median(times["ours"]), median(times["peer"])
    report("next scrapes", peer, ours, ROUNDS)
    lowest = median(floor)
    print(f"  floor, reading and writing once: {lowest:.1f} ms; ours is {ours / lowest:.1f} × that")


def compare_first_scrapes(directory: Path) -> None:
    """Print the first scrape of a fresh process on both sides, and its peak memory."""
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    memory: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(FRESH_ROUNDS):
        for side in SIDES:
            command = [sys.executable, "-m", "benchmarks.side", side, str(directory)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            milliseconds, kilobytes = map(float, done.stdout.split())
            times[side].append(milliseconds)
            memory[side].append(kilobytes)
    report("first scrape", median(times["peer"]), median(times["ours"]), FRESH_ROUNDS)
    print(
        f"  peak memory after ten scrapes: peer {median(memory['peer']) / 1024:.0f} MB,"
        f" ours {median(memory['ours']) / 1024:.0f} MB"
    )


def report(title: str, peer: float, ours: float, rounds: int) -> None:
    """Print both medians and their ratio."""
    ratio = peer / ours
    print(f"  {title}: peer {peer:.1f} ms, ours {ours:.1f} ms, {ratio:.1f} × faster (n={rounds})")


def measure_folding(directory: Path) -> None:
    """Print what 2,000 dead workers cost before, during and after they are folded."""
    print(f"\n{LIVE} living workers, and {DEAD} dead ones of about 300 series each")
    with hold_workers(directory, LIVE, LIVE_VIEWS):
        # The lock and the folder that folding needs are there from the start, as in production.
        make_folder(directory).run_pass()
        alone = median(measure(scrape) for scrape in [make_warm(directory)] * ROUNDS)
        for number in range(DEAD):
            write_worker(directory, f"dead{number}", DEAD_VIEWS, number)
        before = samples_of(make_scrape("ours", directory)())
        peer = measure(make_scrape("peer", directory))
        ours = measure(make_warm(directory))
        space = size_of(directory) / 2**20
        print(f"  before: peer {peer:.0f} ms, ours {ours:.1f} ms; {space:.1f} MB")
        command = [sys.executable, "-m", "benchmarks.side", "fold", str(directory)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        milliseconds, kilobytes = map(float, done.stdout.split())
        print(f"  folding: {milliseconds / 1000:.1f} s, peak memory {kilobytes / 1024:.0f} MB")
        folded = median(measure(scrape) for scrape in [make_warm(directory)] * ROUNDS)
        print(
            f"  after: {folded:.2f} ms, {folded / alone:.2f} × the living alone;"
            f" {size_of(directory) / 2**20:.2f} MB"
        )
        after = samples_of(make_scrape("ours", directory)())
        gone = {key for key in before if key[0] == "django_http_requests_in_flight"}
        assert {key: after.get(key) for key in before.keys() - gone} == {
            key: before[key] for key in before.keys() - gone
        }


def make_warm(directory: Path) -> Callable[[], bytes]:
    """Return a scrape of ours that has been made before."""
    scrape = make_scrape("ours", directory)
    scrape()
    return scrape


def samples_of(page: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return a page's samples."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def size_of(directory: Path) -> int:
    """Return the disk space of a directory's files."""
    return sum(path.stat().st_blocks * 512 for path in directory.rglob("*"))


if __name__ == "__main__":
    main()
