"""Databases of a test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

AddDatabase = Callable[..., Path]


@pytest.fixture
def add_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Iterator[AddDatabase]:
    """Add databases of the test's own, in files; the project's is not among them."""
    # What this thread has of the project's own database.
    own = [each for each in connections.all(initialized_only=True) if each.alias == "default"]
    monkeypatch.delitem(connections.settings, "default")
    added: list[str] = []

    def add(alias: str, name: str = "", **options: object) -> Path:
        path = tmp_path / (name or f"{alias}.sqlite3")
        engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": options}
        databases = {"default": connections.settings.get("default", {}), alias: engine}
        configured = connections.configure_settings(databases)[alias]
        monkeypatch.setitem(connections.settings, alias, configured)
        if alias == "default" and own:
            # It is put aside, and brought back.
            del connections[alias]
        added.append(alias)
        return path

    with django_db_blocker.unblock():
        yield add
        for thread in threading.enumerate():
            if thread.name.startswith("migrations "):
                thread.join(30)
                assert not thread.is_alive()
    for alias in added:
        connections[alias].close()
        del connections[alias]
    for each in own:
        connections["default"] = each
