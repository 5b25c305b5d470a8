"""Waiting that ends: with time, with a signal, and never in silence."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time

import pytest

from metrics_commands.errors import ExporterError
from metrics_commands.management import patience
from metrics_commands.management.patience import Patience
from metrics_commands.server.shutdown import EndedEarly, Shutdown


def send_sigterm() -> None:
    """Ask this process to end, as a service manager does."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_without_time_nothing_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """--port-wait 0 is an answer at once, without a word of waiting."""
    started = time.monotonic()
    assert not Patience(0, Shutdown()).wait(lambda: "waiting")
    assert time.monotonic() - started < patience.RETRY_SECONDS
    assert caplog.text == ""


def test_a_wait_is_said_once_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """It tries again and again until the time is over, and the log has one line a minute."""
    seconds = 2.5 * patience.RETRY_SECONDS
    waiting = Patience(seconds, Shutdown())
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "metrics_commands"):
        tries = sum(iter(lambda: waiting.wait(lambda: "waiting for 100%s"), False))
    assert tries >= 3
    assert seconds <= time.monotonic() - started < seconds + 5
    assert caplog.messages == ["waiting for 100%s"]


def test_a_long_wait_is_said_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks at the log later finds a fresh line, with what is so by then."""
    monkeypatch.setattr(patience, "REMIND_SECONDS", 0.0)
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.001)
    reasons = iter(("first", "second", "third"))
    waiting = Patience(math.inf, Shutdown())
    with caplog.at_level(logging.WARNING, "metrics_commands"):
        assert all(waiting.wait(lambda: next(reasons)) for _ in range(3))
    assert caplog.messages == ["first", "second", "third"]


def test_a_reminder_may_say_more(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first one reads what is waited for, and after a while what to do about it."""
    monkeypatch.setattr(patience, "REMIND_SECONDS", 0.0)
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.001)
    waiting = Patience(math.inf, Shutdown())
    with caplog.at_level(logging.WARNING, "metrics_commands"):
        assert all(waiting.wait(lambda: "first", lambda: "still") for _ in range(3))
    assert caplog.messages == ["first", "still", "still"]


def test_a_signal_ends_a_wait_for_ever() -> None:
    """SIGTERM ends an exporter that waits for its port, at once."""
    with Shutdown() as shutdown:
        shutdown.begin()
        waiting = Patience(math.inf, shutdown)
        sender = threading.Timer(patience.RETRY_SECONDS / 2, send_sigterm)
        sender.start()
        with pytest.raises(EndedEarly):
            list(iter(lambda: waiting.wait(lambda: "waiting"), False))
        sender.join()


def test_work_is_done_and_its_errors_are_its_own() -> None:
    """What a lookup finds, or fails with, arrives as if it had been called."""
    waiting = Patience(0, Shutdown())
    assert waiting.run(lambda: [1, 2]) == [1, 2]
    error = ExporterError("no such name")

    def fail() -> None:
        raise error

    with pytest.raises(ExporterError) as caught:
        waiting.run(fail)
    assert caught.value is error


def test_a_signal_leaves_work_that_hangs() -> None:
    """A name server that never answers does not keep the exporter from ending."""
    hanging = threading.Event()

    def hang() -> None:
        send_sigterm()
        hanging.wait()

    with Shutdown() as shutdown:
        shutdown.begin()
        with pytest.raises(EndedEarly):
            Patience(math.inf, shutdown).run(hang)
    hanging.set()
    for each in threading.enumerate():
        if each.name == "lookup":
            each.join()
