"""What to write in the place of each engine and backend of django-prometheus."""

from __future__ import annotations

import re

import pytest
from django.conf import settings

from metrics_commands.coming_over import find_caches, find_databases
from metrics_commands.wishes import in_settings
from tests.processes import ROOT

from .project import REPLACEMENTS

ENGINES = {
    "sqlite3": "django.db.backends.sqlite3",
    "mysql": "django.db.backends.mysql",
    "postgresql": "django.db.backends.postgresql",
    "postgis": "django.contrib.gis.db.backends.postgis",
    "spatialite": "django.contrib.gis.db.backends.spatialite",
}
CACHES = {
    "filebased.FileBasedCache": "django.core.cache.backends.filebased.FileBasedCache",
    "locmem.LocMemCache": "django.core.cache.backends.locmem.LocMemCache",
    "memcached.PyLibMCCache": "django.core.cache.backends.memcached.PyLibMCCache",
    "memcached.PyMemcacheCache": "django.core.cache.backends.memcached.PyMemcacheCache",
    "redis.RedisCache": "django_redis.cache.RedisCache",
    "redis.NativeRedisCache": "django.core.cache.backends.redis.RedisCache",
    "django_memcached_consul.MemcachedCache": "django_memcached_consul.memcached.MemcachedCache",
}


@pytest.mark.parametrize(("theirs", "behind"), ENGINES.items())
def test_each_engine_has_djangos_in_its_place(
    monkeypatch: pytest.MonkeyPatch, theirs: str, behind: str
) -> None:
    """Each of its five engines becomes the one that it is made of."""
    engine = f"django_prometheus.db.backends.{theirs}"
    monkeypatch.setitem(settings.DATABASES, "other", {"ENGINE": engine})
    (found,) = find_databases(in_settings)
    (change,) = found.changes
    assert change.write == f'DATABASES["other"]["ENGINE"] = "{behind}"'


@pytest.mark.parametrize(("theirs", "behind"), CACHES.items())
def test_each_cache_has_the_one_behind_it_in_its_place(
    monkeypatch: pytest.MonkeyPatch, theirs: str, behind: str
) -> None:
    """Each of its seven backends becomes the one that it is made of."""
    backend = f"django_prometheus.cache.backends.{theirs}"
    monkeypatch.setitem(settings.CACHES, "other", {"BACKEND": backend})
    (found,) = find_caches(in_settings)
    (change,) = found.changes
    assert change.write == f'CACHES["other"]["BACKEND"] = "{behind}"'


def test_the_documented_replacements_are_those_that_are_tested() -> None:
    """The sed command of docs/migrating.md does what the moved project was moved by."""
    text = (ROOT / "docs" / "migrating.md").read_text()
    found = re.findall(r"-e 's/([^/]+)/([^/]+)/g'", text)
    assert tuple((old.replace("\\", ""), new) for old, new in found) == REPLACEMENTS
