"""A site with one view and one middleware of each kind that a count could get wrong."""

from __future__ import annotations

import asyncio
import copy
import io
import os
import pickle
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from metrics_commands.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware

BEFORE = "metrics_commands.middleware.PrometheusBeforeMiddleware"
AFTER = "metrics_commands.middleware.PrometheusAfterMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
HERE = __name__

GetResponse = Callable[[HttpRequest], HttpResponse]


threads: list[int] = []
view_entered: list[asyncio.Event] = []


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    """Answer with five bytes."""
    return HttpResponse(b"plain")


def protected(request: HttpRequest) -> HttpResponse:
    """Answer what CsrfViewMiddleware lets through."""
    return HttpResponse(b"")


class OnlyGet(View):
    """Refuse every method but GET."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("got")


def away(request: HttpRequest) -> HttpResponse:
    """Send the client elsewhere."""
    return HttpResponse(status=302, headers={"Location": "/plain"})


def latin(request: HttpRequest) -> HttpResponse:
    """Answer in another charset."""
    return HttpResponse("é", charset="iso-8859-1")


def created(request: HttpRequest) -> HttpResponse:
    """Answer with a status that is an enumeration's member."""
    response = HttpResponse("created")
    response.status_code = HTTPStatus.CREATED
    return response


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Answer bit by bit."""
    return StreamingHttpResponse([b"bit", b"by", b"bit"])


def download(request: HttpRequest) -> FileResponse:
    """Answer with a file."""
    return FileResponse(io.BytesIO(b"file"), filename="file.bin")


def template(request: HttpRequest) -> TemplateResponse:
    """Answer by a template's name."""
    return TemplateResponse(request, "shop/about.html")


def templates(request: HttpRequest) -> TemplateResponse:
    """Answer by the first template that exists."""
    return TemplateResponse(request, ["shop/missing.html", "shop/about.html"])


def inline_template(request: HttpRequest) -> TemplateResponse:
    """Answer by a template without a name."""
    made: Any = engines["django"].from_string("inline")
    return TemplateResponse(request, made)


def broken_template(request: HttpRequest) -> TemplateResponse:
    """Fail while rendering, after the view returned."""
    return TemplateResponse(request, "shop/missing.html")


def broken(request: HttpRequest) -> HttpResponse:
    """Fail."""
    raise RuntimeError("broken")


def missing(request: HttpRequest) -> HttpResponse:
    """Find nothing."""
    raise Http404


def forbidden(request: HttpRequest) -> HttpResponse:
    """Refuse."""
    raise PermissionDenied


def early_header(request: HttpRequest) -> HttpResponse:
    """Tell a header that SetHeader added late."""
    return HttpResponse(request.headers.get("X-Added", "stale"))


async def async_plain(request: HttpRequest) -> HttpResponse:
    """Answer without a thread of its own, and tell which it was."""
    threads.append(threading.get_ident())
    return HttpResponse(b"async")


async def async_broken(request: HttpRequest) -> HttpResponse:
    """Fail on the event loop."""
    raise RuntimeError("broken")


async def endless(request: HttpRequest) -> HttpResponse:
    """Say that it has begun, and wait for a cancellation."""
    view_entered.pop().set()
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def copies(get_response: GetResponse) -> GetResponse:
    """Make a middleware that keeps copies of requests."""

    def answer(request: HttpRequest) -> HttpResponse:
        copy.deepcopy(vars(request)["_metrics_tally"])
        pickle.dumps(vars(request)["_metrics_tally"])
        return get_response(request)

    return answer


def forks(request: HttpRequest) -> HttpResponse:
    """Answer in a child as well."""
    os.fork()
    return HttpResponse(b"forked")


class RecordingBefore(PrometheusBeforeMiddleware):
    """The outer one, telling the threads in which it begins and ends."""

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        """Note the thread before and after."""
        threads.append(threading.get_ident())
        response = await super().answer_async(request)
        threads.append(threading.get_ident())
        return response


class RecordingAfter(PrometheusAfterMiddleware):
    """The inner one, likewise."""

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        """Note the thread before and after."""
        threads.append(threading.get_ident())
        response = await super().answer_async(request)
        threads.append(threading.get_ident())
        return response


class Labelled(PrometheusAfterMiddleware):
    """The inner one, with a label of the project's own."""

    extra_labels = ("tenant",)

    def label(self, request: HttpRequest, response: HttpResponseBase) -> tuple[str, ...]:
        """Return the host that was asked."""
        return (request.get_host(),)


class Unlabelled(Labelled):
    """The same, with a mistake."""

    def label(self, request: HttpRequest, response: HttpResponseBase) -> tuple[str, ...]:
        """Return one value too many."""
        return ("one", "two")


def fails_on_request(get_response: GetResponse) -> GetResponse:
    """Make a middleware that fails before the view."""

    def answer(request: HttpRequest) -> HttpResponse:
        raise LookupError("before the view")

    return answer


def fails_on_response(get_response: GetResponse) -> GetResponse:
    """Make a middleware that fails after the view."""

    def answer(request: HttpRequest) -> HttpResponse:
        get_response(request)
        raise LookupError("after the view")

    return answer


def closed(get_response: GetResponse) -> GetResponse:
    """Make a middleware that answers in place of every view."""
    return lambda request: HttpResponse("closed", status=503)


def sync_only(get_response: GetResponse) -> GetResponse:
    """Make a middleware that forces an async chain through a thread."""

    def answer(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return answer


def set_header(get_response: GetResponse) -> GetResponse:
    """Make a middleware that adds a header to the request, as single sign-on does."""

    def answer(request: HttpRequest) -> HttpResponse:
        request.META["HTTP_X_ADDED"] = "fresh"
        return get_response(request)

    return answer


class Excuses:
    """Answer in place of a view that failed."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return HttpResponse("sorry", status=502)


NAMED = (
    plain, protected, away, latin, created, stream, download, template, templates,
    inline_template, broken_template, broken, missing, forbidden, early_header, async_plain,
    async_broken, endless, forks,
)  # fmt: skip
urlpatterns = [
    path("unnamed", plain),
    path("only_get", OnlyGet.as_view(), name="only_get"),
    *(path(view.__name__, view, name=view.__name__) for view in NAMED),
]
