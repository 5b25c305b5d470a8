"""Numbers that their writer reaches by position: a value file of our own, or memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .value_file import ValueFile

FIRST_DOUBLES = 256
EMPTY: memoryview[float] = memoryview(b"").cast("d")


class Numbers(Protocol):
    """Doubles in ``view``, which ``add`` may replace: add and store only under one lock."""

    view: memoryview[float]

    def add(self, keys: Sequence[str]) -> list[int]:
        """Return the position in ``view`` of each new number, zero so far; none if no room is left.

        Readers see all of them from the same moment on.
        """
        ...


class NumberFile(ValueFile):
    """A value file whose writer keeps the positions, so that a store is one assignment."""

    view: memoryview[float] = EMPTY

    def add(self, keys: Sequence[str]) -> list[int]:
        """Return the positions of new keys' numbers; none where the disk has no room for them."""
        # Whoever adds keeps the positions, and a few thousand keys are megabytes.
        positions = self._append(keys)
        if self._map is not None and not self.view:
            self._show()
        return [position // 8 for position in positions]

    def close(self) -> None:
        self._hide()
        super().close()

    def _grow(self, needed: int) -> None:
        if needed <= self._capacity:
            return
        # A map cannot be closed while something shows it.
        self._hide()
        try:
            super()._grow(needed)
        finally:
            self._show()

    def _hide(self) -> None:
        if self.view is not EMPTY:
            self.view.release()
            self.view = EMPTY

    def _show(self) -> None:
        if self._map is not None:
            self.view = memoryview(self._map).cast("d")


class NumbersInMemory:
    """The same where there is no directory, or no room on its disk."""

    def __init__(self) -> None:
        self.view: memoryview[float] = memoryview(bytearray(FIRST_DOUBLES * 8)).cast("d")
        self._used = 0

    def add(self, keys: Sequence[str]) -> list[int]:
        """Return the positions of new numbers."""
        first, self._used = self._used, self._used + len(keys)
        while self._used > len(self.view):
            whole = self.view.tobytes()
            self.view = memoryview(bytearray(whole + bytes(len(whole)))).cast("d")
        return list(range(first, self._used))
