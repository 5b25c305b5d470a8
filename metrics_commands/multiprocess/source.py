"""One value file, open for reading: what is parsed once is only fetched afterwards."""

from __future__ import annotations

import mmap
import os
import re
import stat
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .entries import HEADER, LENGTH, BadEntryError, Buffer, Key, find_entries, parse_keys

NAME = re.compile(
    r"(?P<kind>counter|summary|histogram|gauge_(?:live)?(?:all|min|max|sum|mostrecent))"
    # What no file system of UTF-8 has, surrogates, cannot be written on any page.
    r"_(?P<worker>[^\n\ud800-\udfff]+)\.db"
)
NOTHING: memoryview[float] = memoryview(b"").cast("d")
LARGEST_COPY = 64 * 2**20


@dataclass
class Layout:
    """The entries of a file: ``keys[i]`` has its value at the double ``doubles[i]``.

    Workers that met the same keys in the same order share one; ``gaps`` unpacks all that lies
    between the numbers, to tell whether a file is of this layout without parsing it. An entry
    whose key is bad is None in ``keys``.
    """

    used: int = HEADER.size
    keys: list[Key | None] = field(default_factory=list)
    doubles: list[int] = field(default_factory=list)
    shapes: Mapping[str, Any] | None = None
    _gaps: struct.Struct | None = None
    _between: tuple[bytes, ...] = ()

    def matches(self, data: Buffer, used: int) -> bool:
        """Tell whether a file has exactly these entries."""
        if used != self.used or self._gaps is None:
            return False
        return self._gaps.unpack_from(data, HEADER.size) == self._between

    def seal(self, data: Buffer) -> None:
        """Remember what lies between the numbers, once all entries are known."""
        position, sizes = HEADER.size, []
        for double in self.doubles:
            sizes.append(double * 8 - position)
            position = double * 8 + 16
        self._gaps = struct.Struct("=" + "".join(f"{size}s16x" for size in sizes))
        self._between = self._gaps.unpack_from(data, HEADER.size)


class KeyCache:
    """Parse each key once for all files; ``layouts`` are those that files have now."""

    def __init__(self) -> None:
        self.keys: dict[bytes, Key | None] = {}
        self.layouts: dict[str, list[Layout]] = {}

    def parse(self, encoded: Sequence[bytes]) -> list[Key | None]:
        """Return what each key says; None for one that says nothing that can be served."""
        new = [each for each in encoded if each not in self.keys]
        self.keys.update(zip(new, parse_keys(new), strict=True))
        return [self.keys[each] for each in encoded]

    def find_layout(self, kind: str, data: Buffer, used: int) -> Layout | None:
        """Return a known layout that a file has."""
        candidates = self.layouts.get(kind, ())
        return next((each for each in candidates if each.matches(data, used)), None)

    def keep_layouts(self, sources: Iterable[SourceFile]) -> None:
        """Forget layouts that no file has any more, as a growing file leaves one at each scrape."""
        layouts: dict[str, dict[int, Layout]] = {}
        for source in sources:
            layouts.setdefault(source.kind, {})[id(source.layout)] = source.layout
        self.layouts = {kind: list(each.values()) for kind, each in layouts.items()}

    def prune_keys(self) -> None:
        """Forget keys that no layout has any more."""
        layouts = (layout for each in self.layouts.values() for layout in each)
        used = {id(key) for layout in layouts for key in layout.keys}
        self.keys = {text: key for text, key in self.keys.items() if key and id(key) in used}


class SourceFile:
    """A value file: ``kind`` and ``worker`` from its name, ``problem`` what is wrong with it.

    ``problem`` is one word, for metrics; ``detail`` is for the log.

    It is mapped, since copying the keys at every scrape would cost more than fetching the
    numbers. A map that is read after another process has truncated the file ends this process,
    so the size is checked at every update; what remains is the time from there to the fetch.
    Nobody who keeps to the format ever makes a value file shorter. Where ``kept`` is False, for
    lack of descriptors, the file is opened, copied and closed at every update.
    """

    def __init__(self, path: str, kind: str, worker: str, *, kept: bool = True) -> None:
        self.path = path
        self.kind = kind
        self.worker = worker
        self.kept = kept
        self.problem = ""
        self.detail = ""
        self.layout = Layout()
        self.view: memoryview[float] = NOTHING
        self._data: mmap.mmap | bytes = b""
        self._inode = (-1, -1)
        self._failed_at = -1

    def update(self, cache: KeyCache) -> bool:
        """Take in what has been written since; tell whether there are other entries than before."""
        before = self.layout
        try:
            self._update(cache)
        except BadEntryError as error:
            self._fail(str(error))
        except FileNotFoundError:
            self._fail("vanished")
        except (OSError, ValueError, OverflowError) as error:
            self._fail("unreadable", str(error))
        return self.layout is not before and bool(self.layout.keys or before.keys)

    def _fail(self, problem: str, detail: str = "") -> None:
        self.close()
        self.problem, self.detail = problem, detail

    def _update(self, cache: KeyCache) -> None:
        found = os.lstat(self.path)
        if not stat.S_ISREG(found.st_mode):
            raise BadEntryError("not_a_file")
        if found.st_size < HEADER.size:
            raise BadEntryError("empty" if not found.st_size else "truncated")
        inode = (found.st_dev, found.st_ino)
        if inode != self._inode or found.st_size < len(self._data):
            self.close()
            self._inode = inode
        if not self.kept or found.st_size != len(self._data):
            self._load(found.st_size)
        size = len(self._data)
        if size < HEADER.size:
            raise BadEntryError("truncated")
        used = LENGTH.unpack_from(self._data)[0] or HEADER.size
        if not HEADER.size <= used <= size:
            raise BadEntryError("truncated" if used > size else "foreign")
        if used == HEADER.size:
            self.problem = self.detail = ""
        if used not in (self.layout.used, self._failed_at):
            self._read_entries(cache, used)

    def _load(self, size: int) -> None:
        self._unload()
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(self.path, flags), "rb", buffering=0) as file:
            if self.kept:
                self._data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            elif size > LARGEST_COPY:
                raise BadEntryError("too_large")
            else:
                self._data = file.read(size) or b""
        whole = len(self._data) - len(self._data) % 8
        self.view = memoryview(self._data)[:whole].cast("d")

    def _read_entries(self, cache: KeyCache, used: int) -> None:
        damaged = self._failed_at >= 0
        self.problem, self.detail, self._failed_at = "", "", -1
        known = cache.find_layout(self.kind, self._data, used)
        if known is not None:
            self.layout = known
            return
        layout = Layout()
        if used > self.layout.used and not damaged:
            old = self.layout
            layout = Layout(old.used, [*old.keys], [*old.doubles])
        encoded: list[bytes] = []
        whole = True
        try:
            for key, position in find_entries(self._data, layout.used, used):
                encoded.append(key)
                layout.doubles.append(position // 8)
        except BadEntryError:
            whole = False
        layout.keys += cache.parse(encoded)
        if whole:
            layout.used = used
            layout.seal(self._data)
            cache.layouts.setdefault(self.kind, []).append(layout)
            self.problem = "bad_key" if None in layout.keys else ""
        else:
            # What came before the damage is served; it is not tried again until more is written.
            self._failed_at = used
            self.problem = "truncated" if any(layout.keys) else "foreign"
        self.layout = layout

    def close(self) -> None:
        """Forget everything."""
        self._unload()
        self.layout = Layout()
        self._failed_at = -1

    def _unload(self) -> None:
        if self.view is not NOTHING:
            self.view.release()
        self.view = NOTHING
        if isinstance(self._data, mmap.mmap):
            self._data.close()
        self._data = b""


def name_parts(name: str) -> tuple[str, str] | None:
    """Return kind and worker of a value file's name; None where it is none."""
    match = NAME.fullmatch(name)
    return (match["kind"], match["worker"]) if match else None
