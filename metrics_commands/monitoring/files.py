"""What the code says that the committed files have in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import (
    alerts,
    database_and_cache,
    objectives,
    overview,
    recording,
    requests_by_view,
    tasks_and_commands,
    workers_and_exporter,
)
from .board import Board, render_board
from .rule import render_group

HERE = Path(__file__).parent
BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    requests_by_view.BOARD,
    database_and_cache.BOARD,
    workers_and_exporter.BOARD,
    tasks_and_commands.BOARD,
)
GROUPS = (objectives.GROUP, recording.GROUP, alerts.GROUP)


def list_files() -> Iterator[tuple[str, str]]:
    """Yield the path of each file, below this folder, and its text."""
    for board in BOARDS:
        yield f"dashboards/{board.name}.json", render_board(board)
    for group in GROUPS:
        yield f"rules/{group.name}.yml", render_group(group)
