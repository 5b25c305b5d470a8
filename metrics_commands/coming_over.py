"""What is left of django-prometheus in a project, and the line to write in its place.

While its app is installed it counts, and all of this is one finding; once the app is gone, each
place that still names it is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from . import exporter_settings
from .finding import Change, Finding, Place, make_id
from .wishes import Locate

PEER = "django_prometheus"
# Its own name for a backend, and what stands behind it.
ENGINES = {
    "postgis": "django.contrib.gis.db.backends.postgis",
    "spatialite": "django.contrib.gis.db.backends.spatialite",
}
CACHES = {
    "redis.RedisCache": "django_redis.cache.RedisCache",
    "redis.NativeRedisCache": "django.core.cache.backends.redis.RedisCache",
    "django_memcached_consul.MemcachedCache": "django_memcached_consul.memcached.MemcachedCache",
}


def find_left_overs(locate: Locate) -> Iterator[Finding]:
    """Yield what is left of django-prometheus; nothing where it is not installed at all."""
    installed = PEER in settings.INSTALLED_APPS
    if not installed and find_spec(PEER) is None:
        return
    places = [
        *find_databases(locate),
        *find_caches(locate),
        *find_middleware(locate),
        *find_urls(),
        *find_models(),
    ]
    if installed:
        yield describe_peer(places, locate)
        yield from find_ports(locate)
    else:
        yield from places


def describe_peer(places: list[Finding], locate: Locate) -> Finding:
    """Return that the peer counts, with all that is to be written once it shall not."""
    changes = dict.fromkeys(change for each in places for change in each.changes)
    removal = Change(locate("INSTALLED_APPS"), f'INSTALLED_APPS.remove("{PEER}")')
    return Finding(
        make_id(27),
        "warning",
        f"{PEER} is in INSTALLED_APPS: it counts, and metrics_commands only serves its numbers.",
        "Nothing is counted twice, and nothing else changes. When you are ready to move, write"
        " these lines, all in one release.",
        (removal, *changes),
    )


def find_databases(locate: Locate) -> Iterator[Finding]:
    """Yield the databases whose engine is the peer's."""
    prefix = f"{PEER}.db.backends."
    for alias, engine in list_values(settings.DATABASES, "ENGINE", prefix):
        name = ENGINES.get(engine, f"django.db.backends.{engine}")
        yield Finding(
            make_id(37),
            "warning",
            f"The database {alias!r} is still counted by {PEER}.",
            "Every engine is counted here, with no engine of its own.",
            (Change(locate("DATABASES"), f'DATABASES["{alias}"]["ENGINE"] = "{name}"'),),
        )


def find_caches(locate: Locate) -> Iterator[Finding]:
    """Yield the caches whose backend is the peer's."""
    prefix = f"{PEER}.cache.backends."
    for alias, backend in list_values(settings.CACHES, "BACKEND", prefix):
        name = CACHES.get(backend, f"django.core.cache.backends.{backend}")
        yield Finding(
            make_id(38),
            "warning",
            f"The cache {alias!r} is still counted by {PEER}.",
            "Every cache is counted here, with no backend of its own; theirs loses stored zeros"
            " and other false values.",
            (Change(locate("CACHES"), f'CACHES["{alias}"]["BACKEND"] = "{name}"'),),
        )


def list_values(
    configured: Mapping[str, Mapping[str, Any]], key: str, prefix: str
) -> Iterator[tuple[str, str]]:
    """Yield the aliases whose value begins with a prefix, and how it goes on."""
    for alias, values in configured.items():
        value = values.get(key)
        if isinstance(value, str) and value.startswith(prefix):
            yield alias, value.removeprefix(prefix)


def find_middleware(locate: Locate) -> Iterator[Finding]:
    """Yield the peer's own middlewares."""
    for name in map(str, settings.MIDDLEWARE):
        if name.startswith(f"{PEER}.middleware."):
            ours = name.replace(PEER, "metrics_commands")
            yield Finding(
                make_id(33),
                "warning",
                f"{name} is still in MIDDLEWARE.",
                "Ours has the same name and the same place.",
                (Change(locate("MIDDLEWARE"), f'"{ours}",'),),
            )


def find_urls() -> Iterator[Finding]:
    """Yield the URL patterns that lead to the peer's page; none where they cannot be read."""
    try:
        root = settings.ROOT_URLCONF
        places = list(find_patterns(get_resolver(root), str(root)))
    except Exception:
        # Django's own checks say what is wrong with them.
        return
    for module, route in places:
        yield Finding(
            make_id(34),
            "warning",
            f"The URL pattern {route!r} in {module} leads to the page of {PEER}.",
            "Ours has the same path and the same name; where only the exporter is scraped, the"
            " pattern may go.",
            (Change(place_of(module), f'path("{route}", include("metrics_commands.urls"))'),),
        )


def find_patterns(resolver: URLResolver, module: str) -> Iterator[tuple[str, str]]:
    """Yield the module and route of each pattern that is the peer's, or includes it."""
    for each in resolver.url_patterns:
        if isinstance(each, URLPattern):
            if getattr(each.callback, "__module__", "").startswith(PEER):
                yield module, ""
            continue
        included = each.urlconf_name
        name = included.__name__ if isinstance(included, ModuleType) else module
        if name.startswith(PEER):
            yield module, str(each.pattern)
        else:
            yield from find_patterns(each, name)


def find_models() -> Iterator[Finding]:
    """Yield the models that have the peer's mixin among their bases."""
    for model in apps.get_models():
        if any(base.__module__ == f"{PEER}.models" for base in model.__mro__):
            yield Finding(
                make_id(35),
                "warning",
                f"The model {model.__module__}.{model.__name__} is still counted by {PEER}.",
                "In models and migrations alike only the module's name changes, and no migration"
                " comes of it.",
                (
                    Change(
                        place_of(model.__module__),
                        "from metrics_commands.models import ExportModelOperationsMixin",
                    ),
                ),
            )


def find_ports(locate: Locate) -> Iterator[Finding]:
    """Yield the settings by which the peer, while it is installed, takes the exporter's port."""
    for setting in (exporter_settings.PORT, exporter_settings.PORT_RANGE):
        if getattr(settings, setting.name, None):
            yield Finding(
                make_id(36),
                "warning",
                f"By {setting.name}, {PEER} opens a port in every process, runmetrics included.",
                "The exporter may find its own port taken. Give it to runmetrics alone, as option"
                f" {setting.option} or environment variable {setting.name}.",
                (Change(locate(setting.name), f"# {setting.name} = …"),),
            )


def place_of(module: str) -> Place:
    """Return the file of a module, as a person would name it."""
    return Place(f"{module.replace('.', '/')}.py")
