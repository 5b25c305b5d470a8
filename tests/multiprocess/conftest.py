"""Places to write into: one that all users reach, and file systems that refuse."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.multiprocess.somebody import forks


@pytest.fixture(scope="package", autouse=True)
def _without_forks() -> Iterator[None]:
    """End the process that forks for Somebody."""
    yield
    forks.stop()


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[Path]:
    """Mount something on a new directory."""
    path.mkdir()
    subprocess.run(["mount", *options, str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """Return a file system of 256 KB."""
    with mounted(place / "disk", "-t", "tmpfs", "-o", "size=256k", "none") as path:
        yield path
