"""Tracebacks that begin where the project's own code does."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import TracebackType

EXPORTER = f"{Path(__file__).parents[1]}{os.sep}"


def skip_frames(error: BaseException) -> TracebackType | None:
    """Return an error's traceback from the project's first frame on; None where it has none."""
    found = error.__traceback__
    while found is not None and leads_there(found.tb_frame.f_code.co_filename):
        found = found.tb_next
    return found


def leads_there(file: str) -> bool:
    """Tell whether a file is one of the exporter's, or a part of Python's import."""
    return file.startswith((EXPORTER, "<frozen ")) or file == importlib.__file__
