"""What the dead have counted: one value file for each kind, in the standard format.

Its header's second int32, zero in files of workers, is its generation: it has taken everything in
``folding/`` of that generation or an earlier one.
"""

from __future__ import annotations

import json
import logging
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .entries import HEADER, NUMBERS, BadEntryError, Key, find_entries, pack_entry, parse_keys
from .merging import ARCHIVE, SUMMED

logger = logging.getLogger("metrics_commands")

MOST_SERIES = 50_000
OTHER = "<other>"
Numbers = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """How a metric is declared. Numbers of two shapes are never added up."""

    kind: str
    labels: tuple[str, ...]
    bounds: frozenset[float] = frozenset()


@dataclass
class Archive:
    """The numbers of dead workers of one kind."""

    kind: str
    generation: int = 0
    entries: dict[bytes, Numbers] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    forgotten: int = 0

    def add(self, entries: Mapping[bytes, Numbers]) -> None:
        """Take a dead worker's numbers in, by the meaning of the kind."""
        self._forget_other_shapes(shapes_of(self.kind, entries))
        # A file's new series go in together or not at all, else histograms lost some buckets.
        new = sum(encoded not in self.entries for encoded in entries)
        full = len(self.entries) + new > MOST_SERIES
        for encoded, numbers in entries.items():
            key = to_other(encoded) if full and encoded not in self.entries else encoded
            known = self.entries.get(key)
            self.entries[key] = numbers if known is None else merge(self.kind, known, numbers)

    def keep(self, living: Mapping[str, set[Shape]]) -> None:
        """Forget the metrics that the living declare otherwise."""
        self._forget(find_changed(self.shapes, living))

    def _forget_other_shapes(self, shapes: Mapping[str, Shape]) -> None:
        changed = {name for name, shape in shapes.items() if self.shapes.get(name, shape) != shape}
        self._forget(changed)
        self.shapes.update(shapes)

    def _forget(self, names: set[str]) -> None:
        if not names:
            return
        logger.warning(
            "Archived numbers of %s are dropped: %s declared differently now.",
            ", ".join(sorted(names)),
            "it is" if len(names) == 1 else "they are",
        )
        self.forgotten += len(names)
        encoded = list(self.entries)
        for each, key in zip(encoded, parse_keys(encoded), strict=True):
            if key is None or key.metric in names:
                del self.entries[each]
        for name in names:
            self.shapes.pop(name, None)


def find_changed(shapes: Mapping[str, Shape], living: Mapping[str, set[Shape]]) -> set[str]:
    """Return the metrics that the living declare, but none of them in this shape."""
    return {name for name, shape in shapes.items() if shape not in living.get(name, {shape})}


def merge(kind: str, first: Numbers, second: Numbers) -> Numbers:
    """Return one entry's value and timestamp for two workers'."""
    if kind in SUMMED:
        return first[0] + second[0], 0.0
    if kind.endswith("mostrecent"):
        return max(first, second, key=lambda numbers: numbers[1])
    return (max if kind.endswith("max") else min)(first, second)


def to_other(encoded: bytes) -> bytes:
    """Return a key whose label values are ``<other>``, but for a bucket's bound."""
    metric, sample, labels, documentation = json.loads(encoded)
    bounded = {name: value if name == "le" else OTHER for name, value in labels.items()}
    return json.dumps([metric, sample, bounded, documentation], sort_keys=True).encode()


def shapes_of(kind: str, entries: Iterable[bytes]) -> dict[str, Shape]:
    """Return how the metrics of some entries are declared."""
    return dict(find_shapes(kind, parse_keys(list(entries))))


def find_shapes(kind: str, keys: Iterable[Key | None]) -> Iterator[tuple[str, Shape]]:
    """Yield each metric of some keys, and how it is declared."""
    labels: dict[str, set[str]] = {}
    bounds: dict[str, set[float]] = {}
    for key in keys:
        if key is not None:
            labels.setdefault(key.metric, set()).update(name for name, _ in key.labels)
            if key.bound is not None:
                bounds.setdefault(key.metric, set()).add(key.bound)
    for name, found in labels.items():
        # A worker that was killed while it made a histogram left no last bucket.
        if kind == "histogram" and math.inf not in bounds.get(name, ()):
            continue
        yield name, Shape(kind, tuple(sorted(found)), frozenset(bounds.get(name, ())))


def archive_path(directory: Path, kind: str) -> Path:
    """Return where the archive of a kind is."""
    return directory / f"{kind}_{ARCHIVE}.db"


def read_generation(directory: Path, kind: str) -> int:
    """Return the generation of an archive; 0 where there is none, or none that can be read."""
    try:
        return require_generation(directory, kind)
    except OSError:
        return 0


def require_generation(directory: Path, kind: str) -> int:
    """Return the same to those who fold; OSError where there is one that cannot be read."""
    try:
        with open(archive_path(directory, kind), "rb") as file:
            generation: int = HEADER.unpack(file.read(HEADER.size))[1]
    except (FileNotFoundError, struct.error):
        return 0
    return generation


def read_entries(path: Path) -> tuple[int, dict[bytes, Numbers]]:
    """Return generation and entries of a value file, up to where it is damaged."""
    entries: dict[bytes, Numbers] = {}
    with open(path, "rb") as file:
        header = file.read(HEADER.size)
        if len(header) < HEADER.size:
            return 0, entries
        used, generation = HEADER.unpack(header)
        data = header + file.read(max(used - HEADER.size, 0))
    try:
        for encoded, position in find_entries(data, HEADER.size, min(used, len(data))):
            entries[encoded] = NUMBERS.unpack_from(data, position)
    except BadEntryError:
        logger.warning("Value file %s is damaged; what came before is kept.", path)
    readable = zip(entries, parse_keys(list(entries)), strict=True)
    return generation, {key: entries[key] for key, parsed in readable if parsed is not None}


def read_archive(directory: Path, kind: str) -> Archive:
    """Return the archive of a kind, an empty one where there is none yet."""
    try:
        generation, entries = read_entries(archive_path(directory, kind))
    except FileNotFoundError:
        return Archive(kind)
    return Archive(kind, generation, entries, shapes_of(kind, entries))


def write_draft(archive: Archive, path: Path, like: os.stat_result) -> None:
    """Write an archive to a file of another name, and to the disk; OSError where it is full.

    ``like`` is the metrics directory, whose sharing by a group the file follows.
    """
    packed = b"".join(pack_entry(key, *numbers) for key, numbers in archive.entries.items())
    header = HEADER.pack(HEADER.size + len(packed), archive.generation)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o644), "wb") as file:
        if like.st_mode & 0o2000:
            os.fchmod(file.fileno(), 0o660)
        file.write(header + packed)
        file.flush()
        os.fsync(file.fileno())
