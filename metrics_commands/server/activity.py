"""What the server counts of itself, in plain numbers for whoever shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Spent:
    """How often something was done, and how much it took in all."""

    count: int = 0
    total: float = 0.0

    def add(self, amount: float) -> None:
        """Count once more."""
        self.count += 1
        self.total += amount


@dataclass
class Activity:
    """Scrapes answered by status and on their way, and what they took.

    ``errors`` are counted by cause, "gathering" or "encoding"; ``page_bytes`` are as sent.
    """

    stopping: bool = False
    in_flight: int = 0
    requests: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    gather_seconds: Spent = field(default_factory=Spent)
    encode_seconds: Spent = field(default_factory=Spent)
    page_bytes: Spent = field(default_factory=Spent)
