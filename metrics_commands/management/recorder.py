"""Look at the workers' numbers every few seconds, so that the last minutes are known."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..multiprocess.reader import DirectoryReader
from ..multiprocess.table import Merged
from ..server.activity import Activity
from ..status.history import History
from ..status.totals import WANTED, Rows, Totals, TotalsReader

logger = logging.getLogger("metrics_commands")

SHORTEST_PAUSE, LONGEST_PAUSE = 5.0, 12.0
# However many series there are, looking at them takes one part in so many of a processor.
THRIFT = 200


class Recorder:
    """Fill a history; ``sizes`` has the series of the workers' families, by name and type."""

    def __init__(
        self, reader: DirectoryReader | None, namespace: str, activity: Activity, history: History
    ) -> None:
        self.history = history
        self.sizes: dict[tuple[str, str], int] = {}
        self._reader = reader
        self._prefix = f"{namespace}_" if namespace else ""
        self._activity = activity
        self._totals = TotalsReader()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._failed = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look again and again, in a thread, until the block ends."""
        threading.Thread(target=self._run, name="recorder", daemon=True).start()
        try:
            yield
        finally:
            self._ended.set()

    def look(self) -> float:
        """Take in the numbers of this moment; return how many seconds that took."""
        with self._lock:
            start = time.perf_counter()
            self.history.add(time.monotonic(), self._read())
            return time.perf_counter() - start

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            seconds = 0.0
            try:
                seconds = self.look()
                self._failed = False
            except Exception:
                if not self._failed:
                    logger.exception("The status page's charts have a gap.")
                self._failed = True
            pause = min(max(SHORTEST_PAUSE, THRIFT * seconds), LONGEST_PAUSE)

    def _read(self) -> Totals | None:
        """Return the totals; None while the directory cannot be read."""
        spent = self._activity.gather_seconds
        scrapes, seconds = spent.count, spent.total + self._activity.encode_seconds.total
        if self._reader is None:
            return Totals(scrapes=scrapes, scrape_seconds=seconds)
        merged = self._reader.read()
        families = merged.table.families
        self.sizes = {(name, each.type): len(each.series) for name, each in families.items()}
        if self._reader.problem:
            return None
        return self._totals.read(self._choose(merged), scrapes, seconds)

    def _choose(self, merged: Merged) -> dict[str, Rows]:
        """Return the families that the charts need, without the project's prefix."""
        wanted = {f"{self._prefix}{name}": name for name in WANTED}
        pairs = zip(merged.table.families.values(), merged.numbers, strict=True)
        return {
            wanted[family.name]: Rows(family.series, numbers)
            for family, numbers in pairs
            if family.name in wanted
        }
