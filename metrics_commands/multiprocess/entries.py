"""The entries of value files: framing and keys, as prometheus_client writes them.

A file is an int32 of bytes used, 4 bytes that prometheus_client leaves zero, then entries of int32
key length, JSON key ``[metric, sample, {label: value}, help]``, 1 to 8 spaces up to a multiple of
8, and two doubles: value and Unix timestamp (``prometheus_client/mmap_dict.py``).
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from prometheus_client.openmetrics.exposition import UNDERSCORES, escape_label_name
from prometheus_client.utils import floatToGoString

Buffer = mmap.mmap | bytes | bytearray | memoryview

HEADER: Final = struct.Struct("=ii")
LENGTH: Final = struct.Struct("=i")
NUMBERS: Final = struct.Struct("=dd")
LARGEST_KEY: Final = 2**24
# Stands between keys that are parsed together, where no damaged key can go on into the next.
BETWEEN: Final = os.urandom(8).hex()
# Of keys in one piece of JSON: other threads wait while Python reads it.
SLICE = 1000
Labels = tuple[tuple[str, str], ...]


class BadEntryError(ValueError):
    """A value file is not what it should be; the message is the reason that metrics show."""


class Key(NamedTuple):
    """What one entry counts: ``labels`` are sorted by name.

    For a histogram's bucket, ``bound`` is the upper bound, and ``bucket`` the labels with the bound
    in its one spelling; for anything else they are None and the labels as they are.
    """

    metric: str
    sample: str
    labels: Labels
    help: str
    bound: float | None
    bucket: Labels


def pack_entry(key: bytes, value: float = 0.0, timestamp: float = 0.0) -> bytes:
    """Return an entry's bytes."""
    padding = b" " * (8 - (LENGTH.size + len(key)) % 8)
    return LENGTH.pack(len(key)) + key + padding + NUMBERS.pack(value, timestamp)


def find_entries(data: Buffer, start: int, used: int) -> Iterator[tuple[bytes, int]]:
    """Yield each key and the position of its numbers, from ``start`` up to ``used``.

    Raises BadEntryError('truncated') where an entry does not end where it must.
    """
    position = start
    unpack, key_at = LENGTH.unpack_from, LENGTH.size
    while position < used:
        if position + key_at > used:
            raise BadEntryError("truncated")
        (length,) = unpack(data, position)
        begin = position + key_at
        numbers = begin + length + 8 - (key_at + length) % 8
        position = numbers + NUMBERS.size
        if not 0 < length <= LARGEST_KEY or position > used:
            raise BadEntryError("truncated")
        yield bytes(data[begin : begin + length]), numbers


def parse_keys(encoded: Sequence[bytes]) -> list[Key | None]:
    """Return what each key says; None for one that says nothing that can be served."""
    keys: list[Key | None] = []
    for start in range(0, len(encoded), SLICE):
        keys += _parse_slice(encoded[start : start + SLICE])
    return keys


def _parse_slice(encoded: Sequence[bytes]) -> list[Key | None]:
    whole = b"[" + f',"{BETWEEN}",'.encode().join(encoded) + b"]"
    try:
        # Many at once: JSON of a thousand keys takes a third of the time of one by one.
        parsed = json.loads(whole.decode())
    except (ValueError, RecursionError):
        parsed = []
    expected = [BETWEEN] * (len(encoded) - 1)
    aligned = len(parsed) == len(encoded) + len(expected) and parsed[1::2] == expected
    # A lone surrogate passes JSON, as an escape, and cannot be written on any page.
    if not aligned or b"\\ud" in whole.lower():
        return [_make_key(_parse_json(each)) for each in encoded]
    return [_make_key(each) for each in parsed[::2]]


def _parse_json(encoded: bytes) -> object:
    try:
        parsed = json.loads(encoded.decode())
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return parsed


def _make_key(parsed: Any) -> Key | None:
    try:
        metric, sample, labels, documentation = parsed
        # Fails for anything but texts.
        "".join((metric, sample, documentation, *labels.values()))
        in_order = _check_names(tuple(labels))
    except (ValueError, TypeError, AttributeError):
        return None
    if not (metric and sample):
        return None
    pairs = labels.items() if in_order else sorted(labels.items())
    # Thousands of keys repeat a few names and values; each is kept once.
    items = tuple(map(_share, pairs))
    metric, sample, documentation = map(sys.intern, (metric, sample, documentation))
    if "le" not in labels:
        return Key(metric, sample, items, documentation, None, items)
    bound, text = _parse_bound(labels["le"])
    bucket = items
    if bound is not None and text != labels["le"]:
        bucket = tuple(sorted({**labels, "le": text}.items()))
    return Key(metric, sample, items, documentation, bound, bucket)


@lru_cache(8192)
def _share(pair: tuple[str, str]) -> tuple[str, str]:
    return pair


@lru_cache(4096)
def _check_names(names: tuple[str, ...]) -> bool:
    """Tell whether label names are sorted, as writers leave them; ValueError for a wrong one."""
    shown = {str(escape_label_name(name, UNDERSCORES)) for name in names}
    wrong = any(not name or name.startswith("__") for name in names)
    if wrong or len(shown) < len(names) or "__name__" in shown:
        raise ValueError(names)
    return list(names) == sorted(names)


@lru_cache(1024)
def _parse_bound(text: str) -> tuple[float | None, str]:
    """Return a bucket's bound, and how prometheus_client writes it."""
    try:
        return float(text), str(floatToGoString(text))  # type: ignore[no-untyped-call]
    except ValueError:
        return None, text
