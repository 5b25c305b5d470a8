"""Lay out lines for a terminal: labels in a column, in Django's colours, and texts beside them."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.core.management.color import Style

from ..ports.command_line import escape

GAP = 2
LONGEST_LABEL = 24
NARROWEST_TEXT = 30
# Longer lines are hard to read, however wide the terminal is.
WIDEST = 100


@dataclass(frozen=True)
class Row:
    """A text, mostly with a label; ``joint`` stands between them where nothing is laid out.

    ``role`` is a name of Django's style for the label, or for a text without one. What ``is_code``
    is copied by people, and never broken into lines.
    """

    text: str
    label: str = ""
    joint: str = ""
    role: str = ""
    is_code: bool = False

    def __str__(self) -> str:
        return escape(f"{self.label}{self.joint}{self.text}")


def lay_out(rows: Sequence[Row], style: Style, *, indent: int = 0) -> Iterator[str]:
    """Yield lines as wide as the terminal, with all texts below each other.

    Only what we colour ourselves reaches the terminal's control characters: the rest is escaped.
    """
    labels = [len(each.label) for each in rows if each.label]
    column = min(max(labels), LONGEST_LABEL) + GAP if labels else 0
    width = min(shutil.get_terminal_size().columns, WIDEST) - indent - column
    for row in rows:
        label = escape(row.label)
        first = paint(style, row.role, label) + " " * max(column - len(label), GAP)
        lead = first if label else " " * column
        for line in break_text(row, max(width, NARROWEST_TEXT)):
            yield " " * indent + lead + (line if label else paint(style, row.role, line))
            lead = " " * column


def break_text(row: Row, width: int) -> list[str]:
    """Return the lines of a text, addresses, paths and options in one piece."""
    text = escape(row.text)
    if row.is_code:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def paint(style: Style, role: str, text: str) -> str:
    """Return a text in the colour that Django's style has for a role."""
    return str(getattr(style, role)(text)) if role else text
