"""One side of the comparison; as a program, one measurement of it in a fresh process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from metrics_commands.multiprocess.folding import Folder
from metrics_commands.multiprocess.reader import DirectoryReader

SIDES = ("peer", "ours")
SCRAPES = 10


def make_scrape(side: str, directory: Path) -> Callable[[], bytes]:
    """Return what makes the page of a directory."""
    reader = DirectoryReader(directory)

    def scrape_peer() -> bytes:
        registry = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    return (lambda: reader.read().render()) if side == "ours" else scrape_peer


def make_folder(directory: Path) -> Folder:
    """Return what folds a directory."""
    return Folder(directory, DirectoryReader(directory).find_shapes)


def main(side: str, directory: Path) -> None:
    """Print milliseconds of the first scrape, or of folding, and kilobytes at the peak."""
    if side == "fold":
        work: Callable[[], object] = make_folder(directory).run_pass
        more = 0
    else:
        work, more = make_scrape(side, directory), SCRAPES - 1
    start = time.perf_counter()
    work()
    milliseconds = (time.perf_counter() - start) * 1000
    for _ in range(more):
        work()
    print(milliseconds, peak_memory())


def peak_memory() -> float:
    """Return kilobytes; getrusage() would count the parent's, from before exec()."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return float(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
