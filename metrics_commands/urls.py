"""The page of metrics in a web process, where no ``runmetrics`` can be had.

It answers for all workers: ``path("", include("metrics_commands.urls"))``. Whoever reaches the
site reaches it as well, so let the proxy in front refuse it to strangers.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

if TYPE_CHECKING:
    from .collectors.registry import CollectorSet
    from .exposition.format import Format

logger = logging.getLogger("metrics_commands")

_by_pid: dict[int, CollectorSet] = {}


@require_safe
@never_cache
def show_metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics of all workers; of this one where there is no metrics directory."""
    try:
        from .exposition.negotiation import choose_format

        form = choose_format(request.headers.get("Accept", ""))
        response = HttpResponse(make_page(form), content_type=form.content_type)
        patch_vary_headers(response, ["Accept"])
        return response
    except Exception:
        logger.exception("The page of metrics cannot be made.")
        answer = "The page of metrics cannot be made; the log says why.\n"
        return HttpResponse(answer, status=500, content_type="text/plain; charset=utf-8")


def make_page(form: Format) -> bytes:
    """Return the page; only workers that are asked for it import what makes it."""
    from prometheus_client import REGISTRY

    from .collectors.run import Run
    from .directory import own_directory
    from .exposition.encoding import encode

    if own_directory() is None:
        run = Run()
        run.fill(REGISTRY.collect())
        return encode(run.families.values(), form)
    return encode(find_collectors().gather().families, form)


def find_collectors() -> CollectorSet:
    """Return this process's collectors; after a fork new ones, since a lock may be held."""
    pid = os.getpid()
    found = _by_pid.get(pid)
    return found if found is not None else _by_pid.setdefault(pid, open_collectors())


def open_collectors() -> CollectorSet:
    """Make a reader of the value files, and what shows it and the application's collectors."""
    from . import exporter_settings
    from .collectors.registry import Surroundings, make_collectors
    from .directory import own_directory
    from .multiprocess.reader import DirectoryReader

    directory = own_directory()
    reader = None if directory is None else DirectoryReader(directory)
    surroundings = Surroundings(exporter_settings.NAMESPACE.resolve_or_default(), reader)
    return make_collectors(("application", "value_files"), surroundings)


# What login_not_required() of Django 5.1 and later says to LoginRequiredMiddleware.
vars(show_metrics)["login_required"] = False
for alias in connections:
    # With ATOMIC_REQUESTS a database that is down would take the page with it.
    show_metrics = transaction.non_atomic_requests(alias)(show_metrics)

urlpatterns = [path("metrics", show_metrics, name="prometheus-django-metrics")]
