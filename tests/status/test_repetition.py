"""Work is done for who looks: not too often, never twice at once, and nobody waits for long."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from metrics_commands.management.repetition import Repetition
from tests.processes import TIMEOUT, wait_until


def test_a_result_is_kept_for_its_interval() -> None:
    """A page that is asked for every five seconds does not run checkports every five seconds."""
    calls: list[None] = []

    def work() -> int:
        calls.append(None)
        return len(calls)

    repetition = Repetition("work", work, 1000)
    results = [repetition.get(TIMEOUT) for _ in range(5)]
    assert [result.value for result in results if result] == [1] * 5
    assert time.monotonic() - TIMEOUT < results[0].began < time.monotonic()  # type: ignore[union-attr]


def test_work_that_hangs_is_not_waited_for_and_not_begun_again() -> None:
    """The page shows what it has; one thread hangs, and no second one."""
    opened = threading.Event()
    calls: list[None] = []

    def work() -> str:
        calls.append(None)
        assert opened.wait(TIMEOUT)
        return "done"

    repetition = Repetition("work", work, 0)
    assert [repetition.get(0.01) for _ in range(5)] == [None] * 5
    assert len(calls) == 1
    opened.set()
    assert wait_until(lambda: repetition.get(0)).value == "done"


def test_work_that_fails_is_told_and_leaves_the_last_result(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has the reason, and the page what was known before."""
    outcomes = iter([1])
    repetition = Repetition("findings", lambda: next(outcomes), 0)
    first = repetition.get(TIMEOUT)
    assert first is not None

    def is_told() -> bool:
        assert repetition.get(0) == first
        return any(record.levelno == logging.ERROR for record in caplog.records)

    wait_until(is_told)
    assert "The status page is without its findings." in caplog.text
    wait_until(lambda: not any(each.name == "findings" for each in threading.enumerate()))
