"""What a look at the configuration found: one shape for system checks, commands and JSON."""

from __future__ import annotations

from dataclasses import dataclass

# The names of Django's own levels, in the order that ``--fail-level`` goes by.
SEVERITIES = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True)
class Place:
    """Where something is written: ``file`` as a person would name it, ``line`` from 1 (0: none)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Change:
    """The exact line to write, and where."""

    place: Place
    write: str


@dataclass(frozen=True)
class Finding:
    """One thing to know: its id, one of SEVERITIES, what is so, why it matters, what to write."""

    id: str
    severity: str
    what: str
    why: str = ""
    changes: tuple[Change, ...] = ()


def make_id(number: int) -> str:
    """Return the id of a kind of finding, as Django's system checks and their silencing know it."""
    return f"metrics_commands.W{number:03}"
