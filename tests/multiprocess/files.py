"""Value files made by hand, and what a reader says of a directory."""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from metrics_commands.multiprocess.entries import HEADER, pack_entry
from metrics_commands.multiprocess.reader import DirectoryReader

Entry = tuple[bytes, float, float]


def encode_key(
    metric: str, sample: str = "", labels: dict[str, str] | None = None, documentation: str = "Help"
) -> bytes:
    """Return a key as prometheus_client writes it."""
    return json.dumps([metric, sample or metric, labels or {}, documentation]).encode()


def pack_file(entries: Iterable[tuple[bytes, float]], used: int | None = None) -> bytes:
    """Return a file's bytes."""
    body = b"".join(pack_entry(key, value) for key, value in entries)
    return HEADER.pack(HEADER.size + len(body) if used is None else used, 0) + body


def write_series(path: Path, value: float, name: str = "good", **labels: str) -> None:
    """Leave a value file with one series."""
    path.write_bytes(pack_file([(encode_key(name, labels=labels), value)]))


def write_sparse(path: Path) -> None:
    """Leave 2 GiB without blocks that claim to be one entry."""
    path.write_bytes(struct.pack("=iii", 2**31 - 8, 0, 2**31 - 100))
    os.truncate(path, 2**31)


def read_values(reader: DirectoryReader) -> dict[str, float]:
    """Return all samples of a scrape by how they are written, after checking the page."""
    page = reader.read().render().decode()
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    assert len(values) == len(lines), "a series is on the page twice"
    return values


def read_skipped(reader: DirectoryReader) -> dict[str, float]:
    """Return the numbers of skipped files by reason."""
    return {
        sample.labels["reason"]: sample.value
        for family in reader.describe_state()
        if family.name == "django_exporter_value_files_skipped"
        for sample in family.samples
    }


def is_up(reader: DirectoryReader) -> bool:
    """Return whether a reader says that its directory is there."""
    return any(
        sample.name == "django_exporter_metrics_directory_up" and sample.value == 1
        for family in reader.describe_state()
        for sample in family.samples
    )


def read_once(directory: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Return samples and skipped files of one scrape."""
    reader = DirectoryReader(directory)
    return read_values(reader), read_skipped(reader)


def measure_reading(directory: Path) -> tuple[int, dict[str, float], float, float]:
    """Return how many samples a scrape has, what it skips, its seconds and megabytes."""
    before = _peak_megabytes()
    start = time.perf_counter()
    values, skipped = read_once(directory)
    return len(values), skipped, time.perf_counter() - start, _peak_megabytes() - before


def read_with_few_descriptors(
    directory: Path, limit: int, scrapes: int
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Return samples and skipped files of scrapes of a process that may open so many files."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    reader = DirectoryReader(directory)
    return [(read_values(reader), read_skipped(reader)) for _ in range(scrapes)]


def _peak_megabytes() -> float:
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
