"""Numbers that their writer reaches by position: a value file of our own, or memory."""

from __future__ import annotations

from typing import Protocol

from .value_file import ValueFile

NOWHERE = 0
FIRST_DOUBLES = 256
EMPTY: memoryview[float] = memoryview(b"").cast("d")


class Numbers(Protocol):
    """Doubles in ``view``, which ``add`` may replace: whoever holds a lock adds and stores."""

    view: memoryview[float]

    def add(self, key: str) -> int:
        """Return the position in ``view`` of a new number, zero so far; NOWHERE if none is left."""
        ...


class NumberFile(ValueFile):
    """A value file whose writer keeps the positions, so that a store is one assignment."""

    view: memoryview[float] = EMPTY

    def add(self, key: str) -> int:
        """Return the position of a new key's number; NOWHERE where the disk has no room for it."""
        position = self._add(key)
        # Whoever adds keeps the positions, and a few thousand keys are megabytes.
        self._positions.clear()
        if self._map is not None and not self.view:
            self._show()
        return position // 8

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
        # As in a file, no number has the position NOWHERE.
        self._used = 1

    def add(self, key: str) -> int:
        """Return the position of a new number."""
        if self._used == len(self.view):
            self.view = memoryview(bytearray(self.view.tobytes() * 2)).cast("d")
            self.view[self._used :] = memoryview(bytes(self._used * 8)).cast("d")
        self._used += 1
        return self._used - 1
