"""What an exporter will want, wherever that was written."""

from __future__ import annotations

import pytest
from django.test import override_settings

from metrics_commands.errors import ConfigurationError
from metrics_commands.finding import Place
from metrics_commands.ports.neighbours.neighbour import ExporterLine
from metrics_commands.wishes import in_settings, make_wish, make_wish_of_line

PORT = "PROMETHEUS_METRICS_EXPORT_PORT"
RANGE = "PROMETHEUS_METRICS_EXPORT_PORT_RANGE"
ADDRESS = "PROMETHEUS_METRICS_EXPORT_ADDRESS"
LINE = Place("Procfile", 2)


def locate(name: str) -> Place:
    """Return a line for each setting, as if it had been found."""
    return Place(f"{name.lower()}.py", 7)


def line(
    options: dict[str, object], environment: dict[str, str], text: str = "manage.py runmetrics"
) -> ExporterLine:
    """Return a line that starts the exporter in a service's network."""
    return ExporterLine(LINE, text, options, environment, "web")


@pytest.mark.parametrize(
    ("options", "environment", "written", "expected"),
    [
        ({}, {}, {}, ((8001,), "settings.py", "")),
        ({}, {}, {PORT: 9000}, ((9000,), f"{PORT.lower()}.py:7", f"{PORT} = 9000")),
        ({}, {}, {PORT: 9, RANGE: "7-8"}, ((7, 8), f"{RANGE.lower()}.py:7", f"{RANGE} = '7-8'")),
        ({}, {PORT: " 7 "}, {RANGE: [8]}, ((7,), "environment", f"{PORT}= 7 ")),
        ({}, {RANGE: "7-8"}, {PORT: 9}, ((7, 8), "environment", f"{RANGE}=7-8")),
        ({"port": "6"}, {RANGE: "7-8"}, {}, ((6,), "command line", "--port 6")),
        ({"port_range": "6-7"}, {PORT: "5"}, {}, ((6, 7), "command line", "--port-range 6-7")),
    ],
)
def test_the_place_that_decides_is_named(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    environment: dict[str, str],
    written: dict[str, object],
    expected: tuple[tuple[int, ...], str, str],
) -> None:
    """Who changes what is named changes the port: nothing overrules it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with override_settings(**{RANGE: None, **written}):
        wish = make_wish(options, locate)
    assert (wish.ports, str(wish.place), wish.text) == expected
    assert wish.addresses == ("127.0.0.1",)


def test_what_is_written_nowhere_can_be_added() -> None:
    """Without any setting the line to write is a new one."""
    with override_settings(**{RANGE: None}):
        (change,) = make_wish(None).move({8002})
    assert (str(change.place), change.write) == ("settings.py", f"{PORT} = 8003")
    assert change.place == in_settings(PORT)


@pytest.mark.parametrize(
    ("options", "environment", "written", "expected"),
    [
        ({}, {}, {}, ((8001,), "Procfile:2", "manage.py runmetrics --port=8002")),
        ({}, {}, {PORT: 9}, ((9,), f"{PORT.lower()}.py:7", f"{PORT} = 1025")),
        ({}, {PORT: "9"}, {PORT: 8}, ((9,), "environment of Procfile:2", f"{PORT}=1025")),
        ({}, {}, {RANGE: range(8001, 8003)},
         ((8001, 8002), f"{RANGE.lower()}.py:7", f"{RANGE} = range(8003, 8005)")),
        ({"port": "9001"}, {PORT: "8"}, {}, ((9001,), "Procfile:2", "")),
    ],
)  # fmt: skip
def test_a_line_wants_what_its_process_would_see(
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    environment: dict[str, str],
    written: dict[str, object],
    expected: tuple[tuple[int, ...], str, str],
) -> None:
    """Its own environment counts, not that of whoever asks; settings are shared."""
    monkeypatch.setenv(PORT, "7000")
    monkeypatch.setenv(ADDRESS, "10.0.0.1")
    with override_settings(**{RANGE: None, **written}):
        wish = make_wish_of_line(line(options, environment), locate)
    # A line whose port a variable holds has no number to change.
    moved = "".join(each.write for each in wish.move())
    assert (wish.ports, str(wish.place), moved) == expected
    assert (wish.addresses, wish.network) == (("127.0.0.1",), "web")


def test_a_line_s_addresses_are_all_heard() -> None:
    """An address that repeats, or comes from the line's environment, is wanted."""
    assert make_wish_of_line(line({"address": ["::1", ""]}, {})).addresses == ("::1", "")
    assert make_wish_of_line(line({}, {ADDRESS: "::1,db"})).addresses == ("::1", "db")


@pytest.mark.parametrize(
    ("options", "environment", "named"),
    [
        ({"port": "80a"}, {}, "--port is '80a'"),
        ({"port": "1", "port_range": "1-2"}, {}, "--port and --port-range are both given"),
        ({}, {PORT: "1", RANGE: "1-2"}, "are both given"),
        ({}, {RANGE: "2-1"}, f"environment variable {RANGE} is '2-1'"),
        ({"address": [""]}, {PORT: "70000"}, f"environment variable {PORT} is '70000'"),
        ({"address": ["a b"]}, {}, "--address is"),
    ],
)
def test_what_is_wrong_is_named(
    options: dict[str, object], environment: dict[str, str], named: str
) -> None:
    """A wrong line is refused with the sentence that runmetrics would say."""
    with pytest.raises(ConfigurationError) as caught:
        make_wish_of_line(line(options, environment))
    assert named in caught.value.message
