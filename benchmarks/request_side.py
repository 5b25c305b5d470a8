"""One side of the comparison: it runs a batch whenever it is told, and says how long it took."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

VIEWS = 200
APPS = {"none": "", "peer": "django_prometheus", "ours": "metrics_commands"}
MIDDLEWARES = ("PrometheusBeforeMiddleware", "PrometheusAfterMiddleware")
# The peer counts where its own classes stand in for Django's.
BACKENDS = {"peer": "django_prometheus"}

Batch = Callable[[int], object]


def answer(request: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse("ok")


async def answer_async(request: HttpRequest) -> HttpResponse:
    """Do the same on the event loop."""
    return HttpResponse("ok")


urlpatterns = [
    path("async/", answer_async, name="async"),
    *(path(f"{number}/", answer, name=f"view-{number}") for number in range(VIEWS)),
]


def configure(side: str) -> None:
    """Set Django up as a project that counts with this side's app."""
    app = APPS[side]
    backends = BACKENDS.get(side, "django")
    database = "db.backends.sqlite3"
    cache = f"{backends}.{'cache' if side == 'peer' else 'core.cache'}.backends.locmem.LocMemCache"
    settings.configure(
        ALLOWED_HOSTS=["*"],
        CACHES={"default": {"BACKEND": cache}},
        DATABASES={"default": {"ENGINE": f"{backends}.{database}", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["benchmarks", *filter(None, [app])],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[f"{app}.middleware.{name}" for name in MIDDLEWARES if app],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
    )
    django.setup()


def start_response(status: str, headers: Iterable[tuple[str, str]], *rest: object) -> None:
    """Take the head of a WSGI response."""
    assert status == "200 OK", status


def make_wsgi(where: str = "/0/") -> Batch:
    """Return what sends requests for a path through the whole WSGI handler."""
    handler: Any = WSGIHandler()
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": where,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "benchmark",
        "HTTP_ACCEPT": "*/*",
    }

    def run(times: int) -> None:
        for _ in range(times):
            response = handler(dict(environ), start_response)
            for _ in response:
                pass
            response.close()

    return run


def make_asgi() -> Batch:
    """Return what sends requests through the ASGI handler's middleware and view.

    Its outermost part, alike on all sides, starts a thread for Django's own signals: a
    millisecond and more whose noise would hide what is measured.
    """
    handler: Any = ASGIHandler()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/async/",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 80),
    }
    loop = asyncio.new_event_loop()

    async def run(times: int) -> None:
        for _ in range(times):
            response = await handler.get_response_async(ASGIRequest(scope, BytesIO()))
            assert response.status_code == 200
            response.close()

    return lambda times: loop.run_until_complete(run(times))


def make_query() -> Batch:
    """Return what asks the database for one number."""
    from django.db import connection

    def run(times: int) -> None:
        for _ in range(times):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.fetchone()

    return run


def make_cache_get() -> Batch:
    """Return what finds a key in the cache."""
    from django.core.cache import cache

    cache.set("key", "value")

    def run(times: int) -> None:
        for _ in range(times):
            cache.get("key")

    return run


def make_save(side: str) -> Batch:
    """Return what saves a row that exists."""
    from django.db import connection, models

    app = APPS[side]
    mixins = (import_module(f"{app}.models").ExportModelOperationsMixin("entry"),) if app else ()
    contents = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"app_label": "benchmarks"}),
        "name": models.CharField(max_length=100),
    }
    entry_class: Any = type("Entry", (*mixins, models.Model), contents)
    with connection.schema_editor() as editor:
        editor.create_model(entry_class)
    entry = entry_class.objects.create(name="first")

    def run(times: int) -> None:
        for _ in range(times):
            entry.save()

    return run


def visit_all_views() -> None:
    """Ask each view several times, as a worker's life does."""
    for number in range(VIEWS):
        make_wsgi(f"/{number}/")(5)


def measure_memory() -> tuple[int, int]:
    """Return kilobytes resident, and those of no other process."""
    rollup = dict(
        line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    )
    kilobytes = {name: int(value.split()[0]) for name, value in rollup.items()}
    return kilobytes["Rss"], kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]


def count_samples(name: str) -> float:
    """Return the sum of a counter in the value files: proof that this side counted."""
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.multiprocess import MultiProcessCollector

    collector: Any = MultiProcessCollector
    directory = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    families: Iterable[Metric] = collector(CollectorRegistry(), directory).collect()
    return sum(sample.value for each in families for sample in each.samples if sample.name == name)


def measure(batch: Batch, times: int) -> tuple[float, float]:
    """Return the seconds that a batch takes, by the clock and of the processors."""
    start, busy = time.perf_counter(), time.process_time()
    batch(times)
    return time.perf_counter() - start, time.process_time() - busy


def main(side: str) -> None:
    """Serve orders from standard input: a case and how many times, a memory, or a count."""
    configure(side)
    makers: dict[str, Callable[[], Batch]] = {
        "wsgi": make_wsgi,
        "asgi": make_asgi,
        "query": make_query,
        "cache": make_cache_get,
        "save": lambda: make_save(side),
    }
    batches: dict[str, Batch] = {}
    for line in sys.stdin:
        order, argument = line.split()
        if order == "memory":
            visit_all_views()
            print(*measure_memory(), flush=True)
        elif order == "count":
            print(count_samples(argument), flush=True)
        else:
            batch = (
                batches[order] if order in batches else batches.setdefault(order, makers[order]())
            )
            print(*measure(batch, int(argument)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
