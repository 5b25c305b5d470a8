"""Rows: the numbers of all families that move together, found by one lookup."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from .families import Cells
from .request_families import RequestFamilies, request_families
from .store import Slot, Store

MOST_ROWS = 20_000
EXCLUDED = object()


class Kind(NamedTuple):
    """What is alike among requests that move the same numbers.

    ``found`` tells whether a view was found; ``extra`` are the values of the user's own labels.
    """

    view: str
    method: str
    transport: str
    found: bool
    ajax: bool
    status: str
    charset: str
    templated: bool
    streaming: bool
    extra: tuple[str, ...]


class Row(NamedTuple):
    """Where the numbers of one Kind stand; ``counts`` are those that go up by one.

    ``special`` tells that there is more to count than stands here.
    """

    kind: Kind
    streaming: bool
    special: bool
    counts: tuple[tuple[Any, tuple[int, ...]], ...]
    latency: Cells
    request_bytes: Cells
    response_bytes: Cells
    view_request_bytes: Slot
    view_response_bytes: Slot
    queries: Cells
    database_seconds: Slot


class Arrival(NamedTuple):
    """Where the numbers stand that move when a request arrives."""

    requests: Slot
    in_flight: Slot


class Departure(NamedTuple):
    """Where the numbers stand that move when a response leaves."""

    responses: Slot
    in_flight: Slot
    latency: Cells


def find_arrival(store: Store) -> Arrival:
    """Return the numbers of arrivals, and keep them."""
    families = request_families()
    for family in families.unlabelled:
        # Their one series each is there from the first request on, at zero.
        family.cell()
    found = Arrival(families.requests_before.cell(), families.in_flight.cell())
    store.rows[Arrival] = found
    return found


def find_departure(store: Store) -> Departure:
    """Return the numbers of departures, and keep them."""
    families = request_families()
    found = Departure(
        families.responses_before.cell(),
        families.in_flight.cell(),
        families.latency_before.cell(),
    )
    store.rows[Departure] = found
    return found


def make_row(store: Store, key: Hashable, kind: Kind | None) -> Any:
    """Return the numbers of a kind of requests, EXCLUDED for None, and keep them under a key."""
    with store.lock:
        row = EXCLUDED if kind is None else _make_row(kind)
        if len(store.rows) < MOST_ROWS:
            store.rows[key] = row
    return row


def _make_row(kind: Kind) -> Row:
    families = request_families()
    view, method = kind.view, kind.method
    return Row(
        kind,
        kind.streaming,
        kind.streaming or kind.templated,
        group(list_slots(families, kind)),
        families.latency.cell(view, method, *kind.extra),
        families.request_bytes.cell(),
        families.response_bytes.cell(),
        families.view_request_bytes.cell(view, method),
        families.view_response_bytes.cell(view, method),
        families.view_queries.cell(view, method),
        families.view_database_seconds.cell(view, method),
    )


def list_slots(families: RequestFamilies, kind: Kind) -> list[Slot]:
    """Return the counters that such a request moves by one."""
    slots: list[Slot] = [
        families.by_method.cell(kind.method),
        families.by_transport.cell(kind.transport),
        families.by_status.cell(kind.status),
        families.by_status_view.cell(kind.status, kind.view, kind.method, *kind.extra),
    ]
    if kind.found:
        slots.append(families.by_view.cell(kind.view, kind.transport, kind.method, *kind.extra))
    if kind.charset:
        slots.append(families.by_charset.cell(kind.charset))
    if kind.ajax:
        slots.append(families.ajax.cell())
    return slots


def group(slots: list[Slot]) -> tuple[tuple[Any, tuple[int, ...]], ...]:
    """Return the positions by where they are: mostly all in one file."""
    groups: dict[int, tuple[Any, list[int]]] = {}
    for numbers, position in slots:
        groups.setdefault(id(numbers), (numbers, []))[1].append(position)
    return tuple((numbers, tuple(positions)) for numbers, positions in groups.values())
