"""What is known of one request while it is answered, wherever its code runs."""

from __future__ import annotations

from contextvars import ContextVar

from .store import Store


class Tally:
    """One request: its process's numbers, whether it was counted, its queries and their seconds."""

    # Of the class until they change: most of the cost of an object is its __init__.
    queries = 0
    seconds = 0.0
    counted = False

    def __init__(self, store: Store) -> None:
        self.store = store


# Contexts are copied to the threads and tasks that a request starts; the tally itself is shared.
current_tally: ContextVar[Tally | None] = ContextVar("metrics_commands_tally", default=None)
