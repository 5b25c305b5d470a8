"""Write one worker's values of one type into a file that the exporter reads.

The format is prometheus_client's; ``entries.py`` describes it.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import struct
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from .entries import HEADER, LENGTH, NUMBERS, find_entries, pack_entry

logger = logging.getLogger("metrics_commands")

FIRST_SIZE = mmap.PAGESIZE
LARGEST_SIZE = 2**31 - mmap.PAGESIZE

_reported: set[int | None] = set()


class ValueFile:
    """Hold values by key, in a memory map; what the disk has no room for stays in memory.

    A drop-in for prometheus_client's ``MmapedDict`` on the writing side. Blocks are reserved
    before they are written, since a store into a page that a full disk cannot back ends the
    process with SIGBUS. Nothing here raises: metrics never take the application down.
    Not thread-safe; prometheus_client calls it under its own lock.
    """

    def __init__(self, filename: str) -> None:
        self._path = Path(filename)
        self._positions: dict[str, int] = {}
        self._in_memory: dict[str, tuple[float, float]] = {}
        self._descriptor = -1
        self._capacity = 0
        self._used = HEADER.size
        self._map: mmap.mmap | None = None
        try:
            self._open()
        except (OSError, ValueError, struct.error) as error:
            self._give_up(error)

    def read_value(self, key: str) -> tuple[float, float]:
        """Return value and timestamp of a key, adding it at zero."""
        position = self._positions.get(key) or self._add(key)
        if position and self._map is not None:
            value, timestamp = NUMBERS.unpack_from(self._map, position)
            return value, timestamp
        return self._in_memory.setdefault(key, (0.0, 0.0))

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Store value and timestamp of a key."""
        position = self._positions.get(key) or self._add(key)
        if position and self._map is not None:
            # One slice assignment: pack_into would show readers zeros in between.
            self._map[position : position + 16] = NUMBERS.pack(value, timestamp)
        else:
            self._in_memory[key] = (value, timestamp)

    def close(self) -> None:
        """Let go of map and descriptor; the values stay on disk."""
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        """Go on with a file that an earlier writer of this identity left, or create one."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags)
        except FileNotFoundError:
            self._create()
            return
        self._capacity = os.fstat(self._descriptor).st_size
        if not self._capacity:
            self.close()
            self._create()
            return
        self._map = mmap.mmap(self._descriptor, self._capacity)
        (used,) = LENGTH.unpack_from(self._map)
        self._used = used or HEADER.size
        if not HEADER.size <= self._used <= self._capacity:
            raise ValueError("it holds a file that is no value file")
        reserve(self._descriptor, self._used, self._capacity - self._used)
        entries = find_entries(self._map, HEADER.size, self._used)
        self._positions = {key.decode(): position for key, position in entries}

    def _create(self) -> None:
        """Create the file whole under another name first, so that no reader sees an empty one."""
        directory = self._path.parent.stat()
        draft = self._path.with_name(f"{self._path.name}.new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(draft, flags, 0o644)
        try:
            if is_shared_by_group(directory):
                os.fchmod(self._descriptor, 0o660)
            reserve(self._descriptor, 0, FIRST_SIZE)
            os.pwrite(self._descriptor, HEADER.pack(HEADER.size, 0), 0)
            self._map = mmap.mmap(self._descriptor, FIRST_SIZE)
            self._capacity = FIRST_SIZE
            os.rename(draft, self._path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def _add(self, key: str) -> int:
        """Append a key at zero and return where its numbers stand; 0 means in memory."""
        if key in self._in_memory:
            return 0
        for position in self._append([key]):
            self._positions[key] = position
        return self._positions.get(key, 0)

    def _append(self, keys: Sequence[str]) -> list[int]:
        """Append keys at zero and return where their numbers stand; none where there is no room.

        Readers see all of them or none: half a histogram would be wrong.
        """
        if self._map is None:
            return []
        entries = [pack_entry(key.encode()) for key in keys]
        _, *ends = accumulate(map(len, entries), initial=self._used)
        try:
            self._grow(ends[-1])
        except (OSError, ValueError) as error:
            self._report(error)
            return []
        self._map[self._used : ends[-1]] = b"".join(entries)
        # Before readers are told, since a signal handler may raise in between: what they have seen
        # must not be written over. They trust all that they are told of, so it comes whole.
        self._used = ends[-1]
        self._map[0 : LENGTH.size] = LENGTH.pack(ends[-1])
        return [end - NUMBERS.size for end in ends]

    def _grow(self, needed: int) -> None:
        if needed <= self._capacity:
            return
        capacity = self._capacity
        while capacity < needed:
            capacity *= 2
        if capacity > LARGEST_SIZE:
            raise ValueError("the format ends at 2 GiB")
        reserve(self._descriptor, self._capacity, capacity - self._capacity)
        outgrown, self._map = self._map, mmap.mmap(self._descriptor, capacity)
        self._capacity = capacity
        if outgrown is not None:
            outgrown.close()

    def _give_up(self, error: Exception) -> None:
        self.close()
        self._positions.clear()
        self._report(error)

    def _report(self, error: Exception) -> None:
        reason = error.errno if isinstance(error, OSError) else None
        if reason not in _reported:
            _reported.add(reason)
            logger.warning(
                "Some metrics of process %d stay in its memory, where the exporter cannot see"
                " them: %s cannot be written: %s.",
                os.getpid(),
                self._path.parent,
                os.strerror(reason) if reason else error,
            )


def reserve(descriptor: int, offset: int, length: int) -> None:
    """Give the unused end of a file its blocks; OSError where the disk has none left."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, offset, length)
            return
        except OSError as error:
            # Not every C library writes zeros where the file system cannot reserve.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    while length > 0:
        written = os.pwrite(descriptor, bytes(min(length, 1 << 20)), offset)
        offset += written
        length -= written


def is_shared_by_group(directory: os.stat_result) -> bool:
    """Tell whether a directory is setgid to one of our groups, so that its files are shared."""
    groups = {os.getegid(), *os.getgroups()}
    return bool(directory.st_mode & 0o2000) and directory.st_gid in groups
