"""What several tests of the commands need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def common_ground() -> Iterator[Path]:
    """Return a folder that every user reaches."""
    with TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)
