"""Port numbers: what is said of them, which one is better, and how they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.finding import Change, Place
from metrics_commands.ports import numbers
from metrics_commands.ports.numbers import (
    HIGHEST,
    KNOWN_USERS,
    REFUSED_BY_BROWSERS,
    choose_number,
    judge_ephemeral,
    judge_numbers,
    list_ports,
    read_ephemeral_range,
    read_reserved_ports,
)

PORTS = st.integers(1, HIGHEST)
CHANGE = Change(Place("settings.py"), "the line to write")


def move() -> tuple[Change, ...]:
    """Return what is to be written instead."""
    return (CHANGE,)


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([0], {}),
        ([8001], {}),
        ([1023], {"W010": "1023"}),
        ([1024], {}),
        ([80, 81, 8001], {"W010": "80-81"}),
        ([6000], {"W011": "6000"}),
        ([25], {"W010": "25", "W011": "25"}),
        ([9100], {"W012": "9100 (node_exporter)"}),
        (range(6660, 6670), {"W011": "6665-6669"}),
    ],
)
def test_a_port_is_judged_by_its_number(ports: list[int], expected: dict[str, str]) -> None:
    """Each trouble that a number gives is told once, with the ports, and with what to write."""
    found = {each.id.rpartition(".")[2]: each for each in judge_numbers(ports, move)}
    assert set(found) == set(expected)
    for name, named in expected.items():
        assert f": {named}." in found[name].what
        assert found[name].changes == (CHANGE,)


@settings(max_examples=40, deadline=None)
@given(PORTS, st.sets(PORTS, max_size=50), st.integers(1, 60))
def test_a_better_port_is_better(near: int, taken: set[int], count: int) -> None:
    """Whoever writes the suggested ports meets none of these troubles again."""
    first = choose_number(near, taken, count)
    assert first is not None
    chosen = range(first, first + count)
    assert chosen[0] > 1024
    assert chosen[-1] <= HIGHEST
    for trouble in (taken, REFUSED_BY_BROWSERS, KNOWN_USERS, read_ephemeral_range()):
        assert not set(chosen) & set(trouble)


def test_where_no_port_is_better_none_is_offered() -> None:
    """A suggestion that cannot be followed is not made."""
    assert choose_number(8001, range(HIGHEST + 1)) is None
    assert choose_number(8001, (), HIGHEST) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(PORTS | st.integers(8000, 8010), max_size=30))
def test_listed_ports_are_those_given(ports: list[int]) -> None:
    """Nothing is left out or added where neighbours are written as first-last."""
    read: list[int] = []
    for span in filter(None, list_ports(ports).split(", ")):
        first, _, last = span.partition("-")
        read += range(int(first), int(last or first) + 1)
        assert int(first) - 1 not in ports
    assert read == sorted(set(ports))


def test_ephemeral_ports_are_those_of_the_system() -> None:
    """A port that an outgoing connection may take is told, and one beside the range is not."""
    dynamic = read_ephemeral_range()
    reserved = read_reserved_ports()
    free = [port for port in dynamic if port not in reserved]
    (found,) = judge_ephemeral([free[0], 1], move)
    assert str(free[0]) in found.what
    assert f"{dynamic.start}-{dynamic.stop - 1}" in found.what
    assert found.changes == (CHANGE,)
    assert list(judge_ephemeral([0, dynamic.start - 1], move)) == []


@pytest.mark.parametrize(
    ("written", "reserved", "told"),
    [
        ("40000\t40009\n", "\n", "40000-40003"),
        ("40000\t40009\n", "40001-40002,40003\n", "40000"),
        ("40000\t40009\n", None, "40000-40003"),
        ("nonsense\n", "\n", ""),
        (None, None, ""),
    ],
)
def test_what_an_administrator_keeps_out_is_heeded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: str | None,
    reserved: str | None,
    told: str,
) -> None:
    """Reserved ports are no trouble, and a system that does not tell its range is no error."""
    monkeypatch.setattr(numbers, "SETTINGS", tmp_path)
    monkeypatch.setattr("sys.platform", "linux")
    for name, content in {
        "ip_local_port_range": written,
        "ip_local_reserved_ports": reserved,
    }.items():
        if content is not None:
            (tmp_path / name).write_text(content)
    found = [each.what for each in judge_ephemeral(range(39999, 40004), move)]
    assert [re.findall(r": ([0-9, -]+) \(", each)[0] for each in found] == ([told] if told else [])
