"""``python -m metrics_commands.monitoring``: write all dashboards and rules beside this file."""

from __future__ import annotations

from .files import HERE, list_files

for path, text in list_files():
    (HERE / path).write_text(text, encoding="utf-8")
