"""Marks everything here as end-to-end: it needs programs that only a development machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import environment, home, migrated

__all__ = ["environment", "home", "migrated"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
