"""How long a task has waited, by what its message says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from celery.app.task import Context  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from metrics_commands.instrumentation.celery_tasks import (
    SENT_HEADER,
    measure_wait,
)

from .messages import make_task, nothing, take


def in_an_hour(zone: timezone) -> datetime:
    """Return when that is."""
    return datetime.now(zone) + timedelta(hours=1)


@pytest.mark.parametrize(
    "make_options",
    [
        lambda: {"countdown": 3600},
        lambda: {"eta": in_an_hour(timezone.utc)},
        lambda: {"eta": in_an_hour(timezone(timedelta(hours=-7)))},
        # Without a zone it is in UTC, whatever the app's is.
        lambda: {"eta": in_an_hour(timezone.utc).replace(tzinfo=None)},
    ],
    ids=["countdown", "UTC", "zone", "naive"],
)
def test_waiting_for_an_eta_is_no_waiting(
    app: Any, make_options: Callable[[], dict[str, Any]]
) -> None:
    """A task waits from its ETA on, as Celery itself understands it."""
    task = make_task(app, nothing)
    task.apply_async(**make_options())
    request = take(app, task)
    due = request.eta.timestamp()
    assert due == pytest.approx(time.time() + 3600, abs=120)
    context = Context(request.request_dict)
    assert measure_wait(context, app.timezone, due + 7) == pytest.approx(7)
    assert measure_wait(context, app.timezone, due - 7) == 0


@pytest.mark.parametrize(
    ("sent", "eta", "redelivered", "expected"),
    [
        (1000.0, None, False, 5.0),
        (1000, None, False, 5.0),
        (2000.0, None, False, 0.0),
        (1000.0, "1970-01-01T00:16:42+00:00", False, 3.0),
        (1000.0, "1970-01-01T00:16:42Z", False, 3.0),
        (1000.0, "1960-01-01T00:00:00+00:00", False, 5.0),
        (1000.0, None, True, None),
        (-1e9, None, False, None),
        ("1000", None, False, None),
        (None, None, False, None),
    ],
)
def test_a_wait_is_never_absurd(
    sent: object, eta: str | None, redelivered: bool, expected: float | None
) -> None:
    """Clocks that differ give zero; what is no time, and what was delivered before, nothing."""
    info = {"redelivered": redelivered}
    context = Context({SENT_HEADER: sent, "eta": eta, "delivery_info": info})
    assert measure_wait(context, timezone.utc, 1005.0) == expected


@given(st.floats() | st.integers(), st.floats(0, 2e9))
def test_no_header_decides_a_sum(sent: float, now: float) -> None:
    """Whatever a message says, a wait is finite and not negative."""
    context = Context({SENT_HEADER: sent, "eta": None, "delivery_info": None})
    waited = measure_wait(context, timezone.utc, now)
    assert waited is None or (waited >= 0 and math.isfinite(waited))
