"""What the request metrics of this process hold, and what a request should have added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client
from prometheus_client import REGISTRY

PREFIX = "django_http_"
UNCERTAIN = ("_bucket", "_sum", "_created")
# What django-prometheus has not; its nineteen families are counted here.
OWN = tuple(
    f"{PREFIX}{name}"
    for name in ("view_", "requests_in_flight", "requests_cancelled", "request_queue")
)


def read_counts() -> dict[str, float]:
    """Return the counters, and how often the histograms observed, by name and labels."""
    return {
        sample.name.removeprefix(PREFIX) + write_labels(**sample.labels): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name.startswith(PREFIX)
        and not sample.name.startswith(OWN)
        and not sample.name.endswith(UNCERTAIN)
    }


def write_labels(**labels: str) -> str:
    """Write labels as in Prometheus."""
    pairs = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    return f"{{{pairs}}}" if pairs else ""


def count(action: Callable[[], object]) -> dict[str, float]:
    """Return what an action adds to the counts."""
    before = read_counts()
    action()
    after = read_counts()
    added = {key: after[key] - before.get(key, 0) for key in after}
    return {key: number for key, number in added.items() if number}


def value(name: str, **labels: str) -> float:
    """Return one sample's value, 0 where there is none yet."""
    return REGISTRY.get_sample_value(PREFIX + name, labels) or 0.0


def visit(path: str, *, method: str = "GET", asynchronous: bool = False, **environ: Any) -> int:
    """Return the status that a fresh client, and so a fresh chain of middleware, gets."""
    if asynchronous:
        return async_to_sync(visit_async)(path, method=method, **environ)
    answer = Client(raise_request_exception=False).generic(method, path, **environ)
    return int(answer.status_code)


async def visit_async(path: str, *, method: str = "GET", **environ: Any) -> int:
    """Do the same on an event loop."""
    client = AsyncClient(raise_request_exception=False)
    answer = await client.generic(method, path, **environ)
    return int(answer.status_code)


def at_before() -> dict[str, float]:
    """Return what the outer middleware adds for one request."""
    return {
        "requests_before_middlewares_total": 1,
        "responses_before_middlewares_total": 1,
        "requests_latency_including_middlewares_seconds_count": 1,
    }


def at_after(
    view: str,
    *,
    method: str = "GET",
    status: int = 200,
    transport: str = "http",
    charset: str = "utf-8",
    resolved: bool = True,
    streamed: bool = False,
) -> dict[str, float]:
    """Return what the inner middleware adds for one request."""
    code = str(status)
    by_view_method = write_labels(view=view, method=method)
    by_all = write_labels(status=code, view=view, method=method)
    resolution = write_labels(view=view, transport=transport, method=method)
    counts: dict[str, float] = {
        f"requests_total_by_method_total{write_labels(method=method)}": 1,
        f"requests_total_by_transport_total{write_labels(transport=transport)}": 1,
        "requests_body_total_bytes_count": 1,
        f"requests_latency_seconds_by_view_method_count{by_view_method}": 1,
        f"responses_total_by_status_total{write_labels(status=code)}": 1,
        f"responses_total_by_status_view_method_total{by_all}": 1,
        f"responses_total_by_charset_total{write_labels(charset=charset)}": 1,
        "responses_streaming_total" if streamed else "responses_body_total_bytes_count": 1,
    }
    if resolved:
        counts[f"requests_total_by_view_transport_method_total{resolution}"] = 1
    return counts


def exception(kind: str, view: str) -> dict[str, float]:
    """Return what one exception adds."""
    return {
        f"exceptions_total_by_type_total{write_labels(type=kind)}": 1,
        f"exceptions_total_by_view_total{write_labels(view=view)}": 1,
    }


def template(name: str) -> dict[str, float]:
    """Return what one template response adds."""
    return {f"responses_total_by_templatename_total{write_labels(templatename=name)}": 1}
