"""What all tests of caches need: watched caches of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.cache import caches

from metrics_commands.instrumentation.caches import watch_caches
from metrics_commands.instrumentation.families import register

from .kinds import LOCMEM, TieredCache


@pytest.fixture(autouse=True)
def _caches(settings: LazySettings, tmp_path: Path) -> Iterator[None]:
    """Give the test empty, watched caches of its own."""
    here = f"{TieredCache.__module__}."
    settings.CACHES = {
        "default": {"BACKEND": LOCMEM, "LOCATION": str(tmp_path)},
        "other": {"BACKEND": LOCMEM, "LOCATION": f"{tmp_path}2"},
        "files": {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(tmp_path / "cache"),
        },
        "nothing": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "rows": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cached"},
        "tiered": {"BACKEND": f"{here}TieredCache", "LOCATION": f"{tmp_path}3"},
        "shared": {"BACKEND": f"{here}SharedCache", "LOCATION": f"{tmp_path}4"},
        "sealed": {"BACKEND": f"{here}SealedCache", "LOCATION": f"{tmp_path}5"},
        "peers": {"BACKEND": f"{here}PeersCache", "LOCATION": f"{tmp_path}6"},
    }
    register()
    watch_caches()
    yield
    for alias in ("default", "other", "tiered", "shared", "peers"):
        caches[alias].clear()
