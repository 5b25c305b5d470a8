"""Compare a scrape with prometheus_client's: from value files to the bytes of the page."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks.deployment import write_worker
from metrics_commands.exposition import text
from metrics_commands.multiprocess.reader import DirectoryReader

ROUNDS = 7
CASES = ((16, 200), (64, 50))


def main() -> None:
    """Run every case and print it."""
    for workers, views in CASES:
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder)
            samples = sum(
                write_worker(directory, str(number), views, number) for number in range(workers)
            )
            compare(directory, f"{workers} workers × {views} views, {samples} samples")


def compare(directory: Path, title: str) -> None:
    """Measure both sides interleaved; print medians and the ratio."""
    reader = DirectoryReader(directory)

    def ours() -> bytes:
        return text.encode(reader.read_families())

    def peers() -> bytes:
        registry = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    assert sorted(ours().splitlines()) == sorted(peers().splitlines())
    times: dict[Callable[[], bytes], list[float]] = {ours: [], peers: []}
    for _ in range(ROUNDS):
        for side, taken in times.items():
            start = time.perf_counter()
            side()
            taken.append(time.perf_counter() - start)
    mine, other = (statistics.median(taken) * 1000 for taken in times.values())
    print(f"{title}: peer {other:.1f} ms, ours {mine:.1f} ms, {other / mine:.2f} × faster")


if __name__ == "__main__":
    main()
