"""Make the page that a scrape asks for: gather, encode, compress, once for all who ask alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ..collectors.gathering import Gathered
from ..collectors.registry import CollectorSet, QueryError
from ..exposition.compression import SMALLEST, compress
from ..exposition.encoding import encode
from ..exposition.format import Format
from ..exposition.negotiation import choose_encoding, choose_format
from ..server.activity import Activity
from ..server.telemetry import BadQuestionError, Page, Question, Telemetry


class Pages:
    """The pages of one exporter; ``activity`` counts what they cost."""

    def __init__(self, collectors: CollectorSet, activity: Activity) -> None:
        self._collectors = collectors
        self._activity = activity
        self._turn = threading.Lock()
        self._named_turn = threading.Lock()
        self._counting = threading.Lock()

    def offer(self, path: str) -> Telemetry:
        """Return what the server serves under a path."""
        return Telemetry(path, self.make, self.describe)

    def describe(self, question: Question) -> str:
        """Return the content type of the page; gather nothing."""
        self._choose(question)
        return choose_format(question.accept).content_type

    def make(self, question: Question) -> Page:
        """Return the page; raise BadQuestionError for collectors that are not there."""
        chosen = self._choose(question)
        form = choose_format(question.accept)
        coding = choose_encoding(question.accept_encoding)
        start = time.perf_counter()
        gathered = self._collectors.gather(chosen, question.seconds)
        with self._counting:
            self._activity.gather_seconds.add(time.perf_counter() - start)
            self._activity.errors["gathering"] = self._collectors.count_failures()
        names = frozenset(question.names)
        body = gathered.share((form, names), partial(self._encode, gathered, form, names))
        if coding == "gzip" and len(body) >= SMALLEST:
            body = gathered.share((form, names, coding), partial(self._compress, body, names))
        else:
            coding = "identity"
        with self._counting:
            self._activity.page_bytes.add(len(body))
        return Page(body, form.content_type, "" if coding == "identity" else coding)

    def _choose(self, question: Question) -> tuple[str, ...]:
        try:
            return self._collectors.choose(question.collect, question.exclude)
        except QueryError as error:
            raise BadQuestionError(str(error)) from None

    def _encode(self, gathered: Gathered, form: Format, names: frozenset[str]) -> bytes:
        with self._take_turn(names):
            start = time.perf_counter()
            page = encode(gathered.families, form, names, self._count_failure)
            self._activity.encode_seconds.add(time.perf_counter() - start)
        return page

    def _compress(self, body: bytes, names: frozenset[str]) -> bytes:
        with self._take_turn(names):
            return compress(body)

    @contextmanager
    def _take_turn(self, names: frozenset[str]) -> Iterator[None]:
        """Let one work at a time: forty at once would take as long, and forty times the memory.

        Any number of pages can differ in the families that they name. Of those only one stands in
        the queue, so that a whole page, as Prometheus asks for, waits for one of them and not all.
        """
        if names:
            with self._named_turn, self._turn:
                yield
        else:
            with self._turn:
                yield

    def _count_failure(self) -> None:
        self._activity.errors["encoding"] += 1
