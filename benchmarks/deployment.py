"""Make the value files of a deployment, as prometheus_client's own writer would leave them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.utils import floatToGoString

from metrics_commands.worker_settings import DEFAULT_BUCKETS

BOUNDS = [floatToGoString(bound) for bound in DEFAULT_BUCKETS]  # type: ignore[no-untyped-call]
LATENCY = "django_http_requests_latency_seconds_by_view_method"
STATUS = "django_http_responses_total_by_status_view_method"
TRANSPORT = "django_http_requests_total_by_view_transport_method"
IN_FLIGHT = "django_http_requests_in_flight"


def write_worker(directory: Path, name: str, views: int, seed: int) -> int:
    """Write one worker's files: 22 samples for each view and method; return how many in all."""
    generator = random.Random(seed)
    writer: Any = MmapedDict
    kinds = {
        "histogram": list(_histogram_keys(views)),
        "counter": list(_counter_keys(views)),
        "gauge_livesum": list(_gauge_keys(views)),
    }
    for kind, keys in kinds.items():
        file = writer(str(directory / f"{kind}_{name}.db"))
        for key in keys:
            file.write_value(key, float(generator.randrange(1000)), 0.0)
        file.close()
    return sum(map(len, kinds.values()))


@contextmanager
def hold_workers(directory: Path, count: int, views: int) -> Iterator[None]:
    """Have so many workers' files open for writing, as living workers have."""
    held = []
    for number in range(count):
        write_worker(directory, f"live{number}", views, number)
        held += [path.open("r+b") for path in directory.glob(f"*_live{number}.db")]
    try:
        yield
    finally:
        for file in held:
            file.close()


def _pairs(views: int) -> Iterator[tuple[str, str]]:
    for number in range(views):
        for method in ("GET", "POST"):
            yield f"shop:view-{number}", method


def _histogram_keys(views: int) -> Iterator[str]:
    labels = ["view", "method"]
    for view, method in _pairs(views):
        yield mmap_key(LATENCY, f"{LATENCY}_sum", labels, [view, method], "Time by view.")
        for bound in BOUNDS:
            values = [view, method, bound]
            yield mmap_key(LATENCY, f"{LATENCY}_bucket", [*labels, "le"], values, "Time by view.")


def _counter_keys(views: int) -> Iterator[str]:
    for view, method in _pairs(views):
        for status in ("200", "404", "500"):
            labels, values = ["status", "view", "method"], [status, view, method]
            yield mmap_key(STATUS, f"{STATUS}_total", labels, values, "Responses.")
        labels, values = ["view", "transport", "method"], [view, "http", method]
        yield mmap_key(TRANSPORT, f"{TRANSPORT}_total", labels, values, "Requests.")


def _gauge_keys(views: int) -> Iterator[str]:
    for view, method in _pairs(views):
        yield mmap_key(IN_FLIGHT, IN_FLIGHT, ["view", "method"], [view, method], "In flight.")


def read_used(directory: Path) -> int:
    """Read the used bytes of all files once, which no reader can do without; return their sum."""
    total = 0
    for path in directory.glob("*.db"):
        with path.open("rb") as file:
            (used,) = struct.unpack("i", file.read(4))
            total += used - 4
            file.read(used - 4)
    return total
