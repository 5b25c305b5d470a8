"""Count requests: ``PrometheusBeforeMiddleware`` comes first in MIDDLEWARE, ``…After…`` last."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .instrumentation import requests

GetResponse = Callable[[HttpRequest], Any]


class _Middleware(ABC):
    """Serve sync and async alike, without a hook that would send async requests to a thread."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if not requests.can_count():
            raise MiddlewareNotUsed("The request metrics could not be declared.")
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self.answer_async(request)
        start = self.begin(request)
        response: HttpResponseBase = self.get_response(request)
        self.end(request, response, start)
        return response

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same for an async chain."""
        start = self.begin(request)
        response: HttpResponseBase = await self.get_response(request)
        self.end(request, response, start)
        return response

    @abstractmethod
    def begin(self, request: HttpRequest) -> float:
        """Record what is known now; return the time."""

    @abstractmethod
    def end(self, request: HttpRequest, response: HttpResponseBase, start: float) -> None:
        """Record what the response tells."""


class PrometheusBeforeMiddleware(_Middleware):
    """Count requests and their whole time; the first of all middleware."""

    def begin(self, request: HttpRequest) -> float:
        requests.record_arrival()
        return time.perf_counter()

    def end(self, request: HttpRequest, response: HttpResponseBase, start: float) -> None:
        seconds = time.perf_counter() - start
        if not requests.was_counted(request):
            # Another middleware answered, and the inner one of ours never saw the request.
            requests.record_request(request)
            requests.record_response(request, response, seconds)
        requests.record_departure(seconds)


class PrometheusAfterMiddleware(_Middleware):
    """Count requests and responses by view, method and status; the last of all middleware."""

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        requests.watch_unhandled_exceptions()

    def begin(self, request: HttpRequest) -> float:
        requests.record_request(request)
        return time.perf_counter()

    def end(self, request: HttpRequest, response: HttpResponseBase, start: float) -> None:
        requests.record_response(request, response, time.perf_counter() - start)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Count what a view raised; Django calls this before it makes a response of it."""
        requests.record_exception(request, exception)
