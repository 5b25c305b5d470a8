"""Daemon threads that are kept for reuse: to start ten at every scrape costs 2 ms."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

IDLE_SECONDS = 60.0

Job = tuple[Callable[[], object], Callable[[], object]]


class Threads:
    """Do each job in a daemon thread of its own; a thread that is idle for long ends.

    There are never more of them than jobs were going on at once.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Job]] = []

    def start(self, work: Callable[[], object], finish: Callable[[], object]) -> None:
        """Begin to work, and finish whatever comes of it; RuntimeError if no thread can be had."""
        with self._lock:
            jobs = self._idle.pop() if self._idle else None
        if jobs is None:
            jobs = SimpleQueue()
            name = "collector"
            threading.Thread(target=self._serve, args=(jobs,), name=name, daemon=True).start()
        jobs.put((work, finish))

    def _serve(self, jobs: SimpleQueue[Job]) -> None:
        while True:
            try:
                work, finish = jobs.get(timeout=self._idle_seconds)
            except Empty:
                if self._leave(jobs):
                    return
                continue
            # Others' code may raise anything, and the thread has to go on.
            with suppress(BaseException):
                work()
            # Idle before anybody learns of the end: the next scrape shall find this thread.
            with self._lock:
                self._idle.append(jobs)
            finish()
            del work, finish

    def _leave(self, jobs: SimpleQueue[Job]) -> bool:
        with self._lock:
            if jobs not in self._idle:
                # Somebody has chosen this thread just now.
                return False
            self._idle.remove(jobs)
            return True
