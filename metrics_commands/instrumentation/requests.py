"""Count requests and responses; nothing here raises, and nothing waits but for the one lock."""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from time import perf_counter
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from .. import worker_settings
from .guard import report_loss
from .request_families import extra_labels, request_families
from .request_rows import (
    EXCLUDED,
    Arrival,
    Departure,
    Kind,
    find_arrival,
    find_departure,
    make_row,
)
from .store import Store, current_store
from .streams import watch_stream
from .tally import Tally, current_tally

METHODS = frozenset(
    ["GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH"]
)
INVALID_METHOD = "<invalid method>"
UNNAMED_VIEW = "<unnamed view>"
UNNAMED_TEMPLATE = "<unnamed template>"
# A body is never larger, and no sender may decide a sum without limits.
LARGEST_LENGTH = 2**40
LENGTH = re.compile(r"[0-9]{1,13}")
EXCEPTION_COUNTED = "_metrics_exception_counted"
TALLY = "_metrics_tally"


@cache
def can_count() -> bool:
    """Declare the families; where that fails, say once why."""
    try:
        request_families()
    except Exception:
        report_loss("requests")
        return False
    return True


def find_tally(request: HttpRequest) -> Tally:
    """Return the tally of a request, for its middlewares and for the code that answers it."""
    tally: Tally | None = getattr(request, TALLY, None)
    if tally is not None:
        return tally
    tally = Tally(current_store(), current_tally.get())
    setattr(request, TALLY, tally)
    current_tally.set(tally)
    return tally


def record_arrival(tally: Tally) -> None:
    """Count a request at the outer middleware, so that it is seen also if it never ends."""
    try:
        tally.awaited = True
        store = tally.store
        (numbers, position), (gauges, flying) = store.rows.get(Arrival) or find_arrival(store)
        with store.lock:
            numbers.view[position] += 1.0
            gauges.view[flying] += 1.0
    except Exception:
        report_loss("arrivals")


def record_departure(tally: Tally, seconds: float | None) -> None:
    """Count a response at the outer middleware; None where there was none."""
    try:
        current_tally.set(tally.previous)
        store = tally.store
        if store.foreign:
            return
        departure = store.rows.get(Departure) or find_departure(store)
        (numbers, position), (gauges, flying), latency = departure
        with store.lock:
            gauges.view[flying] -= 1.0
            if seconds is not None:
                numbers.view[position] += 1.0
                latency.observe(seconds)
            if tally.queries:
                _store_queries(tally)
    except Exception:
        report_loss("departures")


def record_answer(
    request: HttpRequest,
    response: HttpResponseBase,
    start: float,
    tally: Tally,
    extra: tuple[str, ...] = (),
) -> None:
    """Count what is known when there is a response, by view, method, status and more."""
    try:
        seconds = perf_counter() - start
        # Not asked for anew: that is a system call, and a request seldom forks.
        store = tally.store
        row = None if store.foreign else _find_row(store, request, response, extra)
        if row is None or row is EXCLUDED:
            return
        length = content_length_of(request)
        # What a response does to know its content must not happen under the lock.
        size = 0 if row.streaming else len(response.content)  # type: ignore[attr-defined]
        with store.lock:
            for numbers, positions in row.counts:
                view = numbers.view
                for position in positions:
                    view[position] += 1.0
            row.latency.observe(seconds)
            row.request_bytes.observe(length)
            if length:
                row.view_request_bytes.add(length)
            if not row.streaming:
                row.response_bytes.observe(size)
                numbers, position = row.view_response_bytes
                numbers.view[position] += size
            tally.row = row
            if not tally.awaited:
                _store_queries(tally)
        if not tally.awaited:
            current_tally.set(tally.previous)
        if row.special:
            _record_special(row.kind, response, start)
    except Exception:
        report_loss("responses")


def _find_row(
    store: Store, request: HttpRequest, response: HttpResponseBase, extra: tuple[str, ...]
) -> Any:
    """Return where an answer is counted; one lookup, where its like was met before."""
    match = request.resolver_match
    method = request.method
    key = (
        match and match.view_name,
        method if method in METHODS else INVALID_METHOD,
        request.scheme if is_proxied() else request._get_scheme(),  # type: ignore[attr-defined]  # noqa: SLF001
        response.status_code,
        charset_of(response),
        response.__class__,
        request.META.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest",
        extra,
    )
    return store.rows.get(key) or make_row(store, key, describe(request, response, extra))


def _store_queries(tally: Tally) -> None:
    """Store what a request asked of databases, where its answer was counted."""
    if tally.queries and tally.row is not None:
        tally.row.queries.observe(tally.queries)
        tally.row.database_seconds.add(tally.seconds)


def describe(
    request: HttpRequest, response: HttpResponseBase, extra: tuple[str, ...]
) -> Kind | None:
    """Return what a response is counted as; None where its view is excluded."""
    view = view_of(request)
    if is_excluded(view):
        return None
    return Kind(
        view=view,
        method=method_of(request),
        transport="https" if request.is_secure() else "http",
        found=request.resolver_match is not None,
        ajax=request.META.get("HTTP_X_REQUESTED_WITH") == "XMLHttpRequest",
        # In digits, also where Python 3.10 would print HTTPStatus by name.
        status=str(int(response.status_code)),
        charset=charset_of(response),
        templated=hasattr(response, "render") and hasattr(response, "template_name"),
        streaming=bool(response.streaming),
        # Another middleware's response has none, and there may be several of our own.
        extra=(*extra, *("" for _ in extra_labels))[: len(extra_labels)],
    )


def _record_special(kind: Kind, response: HttpResponseBase, start: float) -> None:
    """Count a stream, and the template of a template response."""
    if kind.streaming:
        request_families().streaming.inc()
        watch_stream(response, kind.view, kind.method, start)
    if kind.templated:
        request_families().by_template.inc(template_of(response))


def record_cancellation(request: HttpRequest) -> None:
    """Count a request whose client left before it had a response."""
    try:
        view = view_of(request)
        if is_excluded(view):
            return
        families, method = request_families(), method_of(request)
        families.cancelled.inc(view, method)
        families.by_method.inc(method)
        families.by_transport.inc("https" if request.is_secure() else "http")
        families.request_bytes.observe(content_length_of(request))
    except Exception:
        report_loss("cancelled requests")


def record_exception(request: HttpRequest, exception: BaseException) -> None:
    """Count a request's first exception, however many hooks see it."""
    try:
        # A flag, not the exception: its traceback holds the request, and would be a cycle with it.
        if hasattr(request, EXCEPTION_COUNTED):
            return
        setattr(request, EXCEPTION_COUNTED, True)
        view = view_of(request)
        if not is_excluded(view):
            request_families().exceptions_by_type.inc(type(exception).__name__)
            request_families().exceptions_by_view.inc(view)
    except Exception:
        report_loss("exceptions")


def record_unhandled(sender: object, request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Count an exception that no view raised, such as one of another middleware."""
    exception = sys.exc_info()[1]
    if request is not None and exception is not None:
        record_exception(request, exception)


def watch_unhandled_exceptions() -> None:
    """Listen to Django's signal for exceptions that become a 500."""
    got_request_exception.connect(record_unhandled, dispatch_uid="metrics_commands")


def method_of(request: HttpRequest) -> str:
    """Return the method; a client may invent any, so others than HTTP's nine are one."""
    method = request.method
    return method if method in METHODS else INVALID_METHOD


def view_of(request: HttpRequest) -> str:
    """Return the name of the URL pattern, or of the view where the pattern has none."""
    match = request.resolver_match
    return match.view_name or UNNAMED_VIEW if match else UNNAMED_VIEW


@lru_cache(10_000)
def is_excluded(view: str) -> bool:
    """Tell whether a view is one that nobody wants to see."""
    patterns = worker_settings.EXCLUDE_VIEWS.resolve_or_default()
    return any(fnmatchcase(view, pattern) for pattern in patterns)


@cache
def is_proxied() -> bool:
    """Tell whether a header decides the scheme; without, asking the request itself is faster."""
    return settings.SECURE_PROXY_SSL_HEADER is not None


def charset_of(response: HttpResponseBase) -> str:
    """Return what ``response.charset`` is, which searches the header anew each time."""
    try:
        # What headers["Content-Type"] would look up, without its own two calls.
        return find_charset(response.headers._store.get("content-type"), response._charset)  # type: ignore[attr-defined]  # noqa: SLF001
    except AttributeError:
        return str(response.charset)


@lru_cache(1000)
def find_charset(header: tuple[str, str] | None, charset: str | None) -> str:
    """Return the charset as Django finds it, of the header and of what was set."""
    response = HttpResponse(charset=charset)
    if header is None:
        del response.headers["Content-Type"]
    else:
        response.headers["Content-Type"] = header[1]
    return str(response.charset or "")


def template_of(response: Any) -> str:
    """Return the name or names of a response's template; an object would be new each time."""
    name = response.template_name
    return UNNAMED_TEMPLATE if hasattr(name, "render") else str(name)


def content_length_of(request: HttpRequest) -> int:
    """Return the length that the client declared; 0 where it is absent, no number or absurd."""
    length = request.META.get("CONTENT_LENGTH")
    if not length or not isinstance(length, str) or not LENGTH.fullmatch(length):
        return 0
    return int(length) if int(length) <= LARGEST_LENGTH else 0
