"""What one request did meanwhile, wherever its code runs: in its thread, task, or sync_to_async."""

from __future__ import annotations

from contextvars import ContextVar


class Tally:
    """Database queries of one request, and the seconds they took."""

    __slots__ = ("queries", "seconds")

    def __init__(self) -> None:
        self.queries = 0
        self.seconds = 0.0


# Contexts are copied to the threads and tasks that a request starts; the tally itself is shared.
current_tally: ContextVar[Tally | None] = ContextVar("metrics_commands_tally", default=None)
