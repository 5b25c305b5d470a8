"""Count requests: ``PrometheusBeforeMiddleware`` comes first in MIDDLEWARE, ``…After…`` last."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, ClassVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .instrumentation import requests
from .instrumentation.guard import report_loss
from .instrumentation.queue import record_queue, trusts_request_start
from .instrumentation.request_families import extra_labels
from .instrumentation.switch import switch_on

logger = logging.getLogger("metrics_commands")

RESERVED_LABELS = {"le", "method", "pid", "status", "transport", "view"}
GetResponse = Callable[[HttpRequest], Any]


class _Middleware(ABC):
    """Serve sync and async alike, without a hook that would send async requests to a thread."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not switch_on():
            raise MiddlewareNotUsed("Another app counts here, or nothing is to be counted.")
        if not requests.can_count():
            raise MiddlewareNotUsed("The request metrics could not be declared.")
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    @abstractmethod
    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer a request."""


class PrometheusBeforeMiddleware(_Middleware):
    """Count requests and their whole time; the first of all middleware."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self._trusts_start = trusts_request_start()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.answer_async(request)
        tally = requests.find_tally(request)
        requests.record_arrival(tally)
        if self._trusts_start:
            record_queue(request)
        start = perf_counter()
        try:
            response: HttpResponseBase = self.get_response(request)
        except BaseException:
            requests.record_departure(tally, None)
            raise
        seconds = perf_counter() - start
        if not tally.counted:
            # Another middleware answered, and the inner one of ours never saw the request.
            requests.record_answer(request, response, start, tally)
        requests.record_departure(tally, seconds)
        return response

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same for an async chain."""
        tally = requests.find_tally(request)
        requests.record_arrival(tally)
        if self._trusts_start:
            record_queue(request)
        start = perf_counter()
        try:
            response: HttpResponseBase = await self.get_response(request)
        except BaseException:
            requests.record_departure(tally, None)
            raise
        seconds = perf_counter() - start
        if not tally.counted:
            # Another middleware answered, and the inner one of ours never saw the request.
            requests.record_answer(request, response, start, tally)
        requests.record_departure(tally, seconds)
        return response


class PrometheusAfterMiddleware(_Middleware):
    """Count requests and responses by view, method and status; the last of all middleware.

    A subclass may add labels to the three families by view: ``extra_labels`` names them, and
    ``label`` returns their values, a short text for each, of which there must not be many.
    """

    extra_labels: ClassVar[tuple[str, ...]] = ()

    def __init__(self, get_response: GetResponse) -> None:
        # The last of MIDDLEWARE is made first, before the families are declared.
        if RESERVED_LABELS.isdisjoint(self.extra_labels):
            extra_labels[:] = extra_labels or self.extra_labels
        else:
            logger.warning("Labels %s are not added: some are taken.", self.extra_labels)
        super().__init__(get_response)
        requests.watch_unhandled_exceptions()

    def label(self, request: HttpRequest, response: HttpResponseBase) -> tuple[str, ...]:
        """Return the values of ``extra_labels``, in their order."""
        return ()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.answer_async(request)
        tally = requests.find_tally(request)
        tally.counted = True
        start = perf_counter()
        response: HttpResponseBase = self.get_response(request)
        extra = self._label(request, response) if self.extra_labels else ()
        requests.record_answer(request, response, start, tally, extra)
        return response

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same for an async chain."""
        tally = requests.find_tally(request)
        tally.counted = True
        start = perf_counter()
        try:
            response: HttpResponseBase = await self.get_response(request)
        except CancelledError:
            requests.record_cancellation(request)
            raise
        extra = self._label(request, response) if self.extra_labels else ()
        requests.record_answer(request, response, start, tally, extra)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Count what a view raised; Django calls this before it makes a response of it."""
        requests.record_exception(request, exception)

    def _label(self, request: HttpRequest, response: HttpResponseBase) -> tuple[str, ...]:
        names = self.extra_labels
        try:
            values = tuple(map(str, self.label(request, response)))
            if len(values) == len(names):
                return values
            raise ValueError(f"{len(values)} values for the labels {', '.join(names)}")
        except Exception:
            report_loss("labels")
        return ("",) * len(names)
