"""Marks everything here as end-to-end, and prepares a shop with data of its own for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.processes import TIMEOUT, clean_environment, run_manage

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests below this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of the shop as ``migrate`` leaves it."""
    home = tmp_path_factory.mktemp("migrated")
    done = run_manage(clean_environment(home), "migrate")
    assert done.returncode == 0, done.stderr
    return home / "db.sqlite3"


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Path:
    """Return a data directory of the shop, with its database."""
    shutil.copy(migrated, tmp_path / "db.sqlite3")
    return tmp_path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Return the environment of a deployment of its own, whose metrics port the kernel chooses."""
    return clean_environment(home, PROMETHEUS_METRICS_EXPORT_PORT="0")


# Not for a whole session: while it runs, no other event loop may run in its thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium without a window."""
    # Unit tests take the programs of this file where there is no browser.
    from playwright.sync_api import expect, sync_playwright

    program = find_program("chromium", "chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=1000 * TIMEOUT)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def find_program(name: str, package: str) -> str:
    """Return a program of the system; skip the test where it is missing, but never under CI."""
    path = shutil.which(name)
    if path is None:
        assert os.environ.get("CI") != "true", f"{name} is missing"
        pytest.skip(f"{name} is missing: install the package {package}")
    return path
