"""The exporter's log: lines for people, or objects for machines."""

from __future__ import annotations

import json
import logging
from io import StringIO

import pytest

from metrics_commands.log import configure_log

logger = logging.getLogger("metrics_commands")


def test_text_has_one_dated_line_per_message() -> None:
    """A person reads when, how grave and what."""
    stream = StringIO()
    configure_log("text", stream)
    logger.warning("Port %d is taken.", 8001)
    date, _, rest = stream.getvalue().partition("] ")
    assert date.startswith("[20")
    assert rest == "WARNING: Port 8001 is taken.\n"


def test_json_has_one_object_per_line_with_its_fields() -> None:
    """A machine reads one object per line, also for messages of several lines."""
    stream = StringIO()
    configure_log("json", stream)
    logger.info("Two\nlines, and ü.", extra={"fields": {"urls": ["http://[::1]:8001/metrics"]}})
    logger.error("Later.")
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["level"], first["message"]) == ("info", "Two\nlines, and ü.")
    assert first["urls"] == ["http://[::1]:8001/metrics"]
    assert first["time"].endswith("+00:00")
    assert second["level"] == "error"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_is_kept(log_format: str) -> None:
    """The reason of a failure is in the log, in either format."""
    stream = StringIO()
    configure_log(log_format, stream)
    try:
        raise RuntimeError("the reason")
    except RuntimeError:
        logger.exception("It failed.")
    lines = stream.getvalue().splitlines()
    assert "the reason" in stream.getvalue()
    if log_format == "json":
        assert len(lines) == 1
        assert "the reason" in json.loads(lines[0])["exception"]


def test_configuring_twice_writes_each_message_once() -> None:
    """Only the stream that was named last gets the log, each message once."""
    first, last = StringIO(), StringIO()
    configure_log("text", first)
    configure_log("text", last)
    logger.info("Once.")
    assert first.getvalue() == ""
    assert last.getvalue().count("Once.") == 1


def test_the_log_goes_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the metrics of --once, so no message strays there."""
    stray = StringIO()
    root = logging.getLogger()
    handler = logging.StreamHandler(stray)
    root.addHandler(handler)
    try:
        configure_log("text", StringIO())
        logger.error("Stay here.")
    finally:
        root.removeHandler(handler)
    assert stray.getvalue() == ""
    assert capfd.readouterr() == ("", "")


def test_the_server_speaks_up_only_for_errors() -> None:
    """Tornado's errors are in the same log, its access lines are not."""
    stream = StringIO()
    configure_log("text", stream)
    logging.getLogger("tornado.access").info("200 GET /metrics")
    logging.getLogger("tornado.access").warning("404 GET /favicon.ico")
    logging.getLogger("tornado.general").error("The server failed.")
    assert stream.getvalue().splitlines()[0].endswith("ERROR: The server failed.")
    assert stream.getvalue().count("\n") == 1
