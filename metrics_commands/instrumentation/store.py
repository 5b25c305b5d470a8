"""This process's own numbers: where each stands, and the one lock around all of them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

from ..directory import own_directory
from ..multiprocess.identity import new_identity
from ..multiprocess.numbers import NumberFile, Numbers, NumbersInMemory

getpid = os.getpid
# Called when a process has opened its first file.
beginnings: list[Callable[[], None]] = []


class Slot(NamedTuple):
    """Where one number stands: ``numbers.view[position]``, under the store's lock."""

    numbers: Numbers
    position: int

    def add(self, amount: float) -> None:
        """Add to the number, under the store's lock."""
        self.numbers.view[self.position] += amount


class Store:
    """The numbers of one process. A fork has another one, with none of its parent's.

    ``cells`` has what each family made for each set of label values, ``rows`` what callers made
    of several cells; ``refused`` are label values for which a family had no room. The lock is
    reentrant: a signal handler or a destructor that counts while the lock is held loses at most
    one count, and never hangs.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # Set in a fork: a request that its parent began must not be counted in both.
        self.foreign = False
        self.refused: set[tuple[str, tuple[str, ...]]] = set()
        self.lock = threading.RLock()
        self.cells: dict[tuple[str, tuple[str, ...]], Any] = {}
        self.rows: dict[Hashable, Any] = {}
        self.sizes: Counter[str] = Counter()
        self._files: dict[str, Numbers] = {}
        self._spare = NumbersInMemory()
        self._identity = ""

    def add(self, kind: str, keys: Sequence[str]) -> list[Slot]:
        """Return a slot for each key, all of them in the file or, where it is full, in memory."""
        with self.lock:
            numbers = self._files.get(kind) or self._open(kind)
            positions = numbers.add(keys)
            if not positions:
                numbers = self._spare
                positions = numbers.add(keys)
            return [Slot(numbers, position) for position in positions]

    def close(self) -> None:
        """Let go of the files, which belong to the parent of a fork."""
        for numbers in self._files.values():
            if isinstance(numbers, NumberFile):
                numbers.close()

    def _open(self, kind: str) -> Numbers:
        directory = own_directory()
        if directory is None:
            self._files[kind] = NumbersInMemory()
            return self._files[kind]
        is_first = not self._identity
        self._identity = self._identity or new_identity()
        self._files[kind] = NumberFile(str(directory / f"{kind}_{self._identity}.db"))
        if is_first:
            for begin in beginnings:
                begin()
        return self._files[kind]


_by_pid: dict[int, Store] = {}
_current = _by_pid.setdefault(os.getpid(), Store(os.getpid()))


def current_store() -> Store:
    """Return the store of this process; after a fork, a new one."""
    store = _current
    return store if store.pid == getpid() else _renew()


def _disown() -> None:
    for store in _by_pid.values():
        store.foreign = True


# What forks without this, as uWSGI does, is noticed by its pid, at the next request.
os.register_at_fork(after_in_child=_disown)


def _renew() -> Store:
    global _current
    pid = getpid()
    # Several threads may come here at once, and a lock of the parent's may be held for ever.
    store = _by_pid.setdefault(pid, Store(pid))
    for other in [each for each in _by_pid if each != pid]:
        parents = _by_pid.pop(other, None)
        if parents is not None:
            parents.close()
    _current = store
    return store
