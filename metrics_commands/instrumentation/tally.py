"""What is known of one request while it is answered, wherever its code runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from .store import Store


class Tally:
    """One request: its process's numbers, its queries and their seconds.

    ``counted`` tells that the inner middleware has seen it, ``awaited`` that the outer one will;
    ``row`` is where its answer was counted, ``previous`` what was current before it: a request
    may make another one, as tests do.
    """

    # Of the class until they change: most of the cost of an object is its __init__.
    queries = 0
    seconds = 0.0
    counted = False
    awaited = False
    row: Any = None

    def __init__(self, store: Store, previous: Tally | None) -> None:
        self.store = store
        self.previous = previous

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        # A copy of a request is another request.
        return type(None), ()


# Contexts are copied to the threads and tasks that a request starts; the tally itself is shared.
current_tally: ContextVar[Tally | None] = ContextVar("metrics_commands_tally", default=None)
