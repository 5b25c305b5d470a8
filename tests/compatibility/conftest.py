"""One project on django-prometheus for all tests, of which each takes a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .environment import make_environment
from .project import Project, make_project


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project made with django-prometheus, in its own environment."""
    return make_project(tmp_path_factory.mktemp("peer") / "project", make_environment())


@pytest.fixture
def copy(original: Project, tmp_path: Path) -> Callable[[str], Project]:
    """Return a function that copies the project."""

    def make(name: str) -> Project:
        shutil.copytree(original.folder, tmp_path / name)
        return Project(tmp_path / name, original.python)

    return make
