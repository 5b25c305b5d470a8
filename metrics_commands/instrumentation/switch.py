"""Switch the instrumentation of this process on, once, when Django is ready."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from ..directory import is_exporter
from . import families
from .caches import watch_caches
from .celery_tasks import watch_celery
from .commands import watch_commands
from .database import watch_databases
from .role import enlist
from .tasks import watch_tasks

PEER = "django_prometheus"


def peer_counts() -> bool:
    """Tell whether django-prometheus is installed; while it is, it counts, and we do not."""
    return PEER in settings.INSTALLED_APPS


@cache
def switch_on() -> bool:
    """Watch all that this process does from now on; not in the exporter, which only reads."""
    if peer_counts() or is_exporter():
        return False
    families.register()
    watch_databases()
    watch_caches()
    watch_commands()
    watch_celery()
    watch_tasks()
    enlist()
    return True
