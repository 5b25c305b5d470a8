"""What exporters and their neighbours want, compared; the kernel has the last word."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metrics_commands.finding import Place
from metrics_commands.ports.neighbours.line import Span
from metrics_commands.ports.neighbours.neighbour import COMPOSE, PROCFILE, Neighbour, Starter
from metrics_commands.ports.wish import (
    Wish,
    add_option,
    explain_rivalry,
    find_clashes,
    is_loopback,
    overlap,
    replace_ports,
    spell_out,
)
from tests.ports.sockets import bound, needs_ipv6

HERE = Place("Procfile", 2)
THERE = Place("Procfile", 1)
HOSTS = ["0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1", "::ffff:127.0.0.1"]


def find(text: str, *ports: int) -> Span:
    """Return where a port, or a range of them, is written last in a line."""
    written = f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else f"{ports[0]}"
    start = text.rfind(written)
    return (start, start + len(written)) if start >= 0 else None


def wish(ports: tuple[int, ...], text: str, *addresses: str, **more: Any) -> Wish:
    """Return what an exporter wants, by default on 127.0.0.1, by a line or by settings."""
    by_line = "runmetrics" in text
    more.setdefault("span", find(text, *ports) if by_line else None)
    return Wish(addresses or ("127.0.0.1",), ports, HERE, text, rewritable=not by_line, **more)


def neighbour(host: str, port: int, text: str = "", **more: Any) -> Neighbour:
    """Return a web server that wants a port."""
    more.setdefault("span", find(text, port))
    return Neighbour("gunicorn of 'web'", THERE, text, host, port, **more)


def bind_both(first: str, second: str, *, second_is_ours: bool) -> bool:
    """Tell whether the kernel lets two sockets have one port of these addresses."""

    def bind() -> bool:
        with ExitStack() as opened:
            port = opened.enter_context(bound(first, dual_stack=True)).getsockname()[1]
            try:
                opened.enter_context(bound(second, port, dual_stack=not second_is_ours))
            except OSError:
                return False
            return True

    # A port that is free at one address may be another process's at the other.
    return any(bind() for _ in range(3))


@needs_ipv6
@pytest.mark.parametrize("first", HOSTS)
@pytest.mark.parametrize("second", HOSTS)
def test_addresses_overlap_where_the_kernel_says_so(first: str, second: str) -> None:
    """What is told of two servers is what would happen to them on this machine."""
    one, two = (spell_out(each, dual_stack=True) for each in (first, second))
    assert overlap(one, two) == overlap(two, one)
    assert overlap(one, two) is not bind_both(first, second, second_is_ours=False)


@needs_ipv6
@pytest.mark.parametrize("theirs", HOSTS)
@pytest.mark.parametrize("ours", HOSTS[:-1])
def test_a_clash_is_told_where_the_exporter_could_not_bind(theirs: str, ours: str) -> None:
    """The exporter's own IPv6 sockets leave IPv4 alone, so that is no clash."""
    assert bool(explain_rivalry(ours, theirs)) is not bind_both(theirs, ours, second_is_ours=True)


@pytest.mark.parametrize(
    ("ours", "theirs", "why"),
    [
        ("127.0.0.1", "127.0.0.1", "the same address"),
        ("", "*", "the same address"),
        ("localhost", "127.0.0.1", "the same address"),
        ("", "db", "One asks for db, the other for all"),
        ("127.0.0.1", "127.0.0.2", ""),
        ("::", "0.0.0.0", ""),
        ("metrics", "metrics", "the same address"),
        ("127.0.0.1", "0.0.0.0", "One asks for 127.0.0.1, the other for all"),
        ("", "10.0.0.1", "One asks for 10.0.0.1, the other for all"),
        ("::1", "[::]", "One asks for ::1, the other for all"),
        ("0:0:0:0:0:0:0:0", "::", "the same address"),
    ],
)
def test_a_clash_is_explained(ours: str, theirs: str, why: str) -> None:
    """Who reads it knows which of the two is for all addresses."""
    said = explain_rivalry(ours, theirs)
    assert why in said
    assert bool(said) is bool(why)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
        ("localhost", True), ("", False), ("0.0.0.0", False), ("::", False), ("db", False),
        ("10.0.0.1", False),
    ],
)  # fmt: skip
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:
    """Only what nobody else can reach counts as such."""
    assert is_loopback(host) is expected


RANGES = st.builds(
    lambda first, count, step: range(first, first + count * step, step),
    st.integers(1100, 40000),
    st.integers(1, 40),
    st.integers(1, 3),
)


@settings(max_examples=100, deadline=None)
@given(RANGES, st.sampled_from(["range", "list", "reversed", "option"]))
def test_a_rewritten_line_is_for_other_ports(ports: range, form: str) -> None:
    """Whoever writes the line gets as many ports, and none of the old ones."""
    chosen = tuple(ports)
    stop = 0
    if form == "range":
        text, stop = f"PORTS = {ports!r}", ports.stop
    elif form == "option":
        chosen = tuple(range(ports[0], ports[-1] + 1))
        text = f"web: manage.py runmetrics --port-range {chosen[0]}-{chosen[-1]}"
    else:
        chosen = chosen[::-1] if form == "reversed" else chosen
        text = f"PORTS = {list(chosen)!r}"
    span = find(text, chosen[0], chosen[-1]) if form == "option" else None
    (change,) = wish(chosen, text, stop=stop, span=span).move()
    assert change.place == HERE
    if form == "option":
        found = re.search(r"(\d+)-(\d+)$", change.write)
        assert found
        written = list(range(int(found[1]), int(found[2]) + 1))
    else:
        written = list(eval(change.write.removeprefix("PORTS = ")))
    assert len(written) == len(chosen)
    assert not set(written) & set(chosen)


@settings(max_examples=100, deadline=None)
@given(st.integers(2000, 65535), st.integers(1, 999), st.text("a1.:- [],'{}$=é²", max_size=20))
def test_only_the_port_is_replaced(old: int, new: int, around: str) -> None:
    """The rest of a line stays as it was written, whatever it is."""
    assume(str(old) not in around)
    written = replace_ports(f"{around} {old} {around}", {old: new})
    assert written == f"{around} {new} {around}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gunicorn -b 0.0.0.0:8000 -b [::]:8000", "gunicorn -b 0.0.0.0:9 -b [::]:9"),
        ("gunicorn -b :${PORT:-8000}", "gunicorn -b :${PORT:-9}"),
        ("runserver 18000 80000 v8000 8000.5", "runserver 18000 80000 v8000 8000.5"),
        ('- "8000:8000"', '- "9:8000"'),
        ('- "127.0.0.1:8000:8000"', '- "127.0.0.1:9:8000"'),
        ('- "7000:8000"', '- "7000:8000"'),
        ("--bind=tcp:8000:interface=127.0.0.1", "--bind=tcp:9:interface=127.0.0.1"),
    ],
)
def test_a_port_is_replaced_where_it_is_one(text: str, expected: str) -> None:
    """Other numbers, and a container's own side of a published port, stay."""
    assert replace_ports(text, {8000: 9}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("worker: python manage.py runmetrics", "worker: python manage.py runmetrics --x=1"),
        ("/runmetrics/a.py runmetrics | tee a", "/runmetrics/a.py runmetrics --x=1 | tee a"),
        ('command: ["manage.py", "runmetrics"]', 'command: ["manage.py", "runmetrics", "--x=1"]'),
        ("[manage.py, runmetrics, --port, '1']", "[manage.py, runmetrics, --x=1, --port, '1']"),
        ("- runmetrics", "- runmetrics\n- --x=1"),
        ("- '8001'", "- '8001'\n- '--x=1'"),
        ("- sh -c 'manage.py runmetrics'", "- sh -c 'manage.py runmetrics --x=1'"),
        ("exec start.sh", "exec start.sh"),
    ],
)  # fmt: skip
def test_an_option_is_added_where_the_command_takes_it(text: str, expected: str) -> None:
    """The line to write is valid in a shell, in a list and in an item of its own."""
    assert add_option(text, "--x=1") == expected


def test_a_range_moves_past_every_neighbour() -> None:
    """The suggested range holds the port of no other server, not of one further on either."""
    ours = wish((8001, 8002), "runmetrics --port-range 8001-8002")
    others = [neighbour("0.0.0.0", port, f"gunicorn -b :{port}") for port in (8002, 8004, 8006)]
    (found,) = find_clashes([ours], others)
    assert found.id == "metrics_commands.W017"
    assert "one of 8001-8002 (Procfile:2)" in found.what
    assert [each.write for each in found.changes] == [
        "runmetrics --port-range 8007-8008",
        "gunicorn -b :8003",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "writes"),
    [
        (wish((1024,), "runmetrics --port 1024"), {"port": 8001}, None),
        (wish((8001,), "runmetrics", network="web"), {"port": 8001}, None),
        (wish((0,), "runmetrics --port 0"), {"port": 8001}, None),
        (wish((8001,), "runmetrics $WHO_KNOWS"), {"port": 8001}, []),
        (wish((8001,), "", port_option="PORT = {}"), {"port": 8001}, ["PORT = 8002"]),
        (wish((8001,), "runmetrics", port_option="--port={}"), {"port": 8001, "span": None,
         "text": "gunicorn -b :8001"}, ["runmetrics --port=8002"]),
    ],
)  # fmt: skip
def test_only_what_can_be_written_is_offered(
    ours: Wish, theirs: dict[str, Any], writes: list[str] | None
) -> None:
    """A clash is told wherever there is one, also where no line of these files can end it."""
    found = list(find_clashes([ours], [neighbour("0.0.0.0", **theirs)]))
    told = [[change.write for change in each.changes] for each in found]
    assert told == ([] if writes is None else [writes])


def test_a_line_that_starts_both_is_changed_for_one() -> None:
    """In 'gunicorn & runmetrics' each change moves one of the two, and the other stays."""
    text = "web: gunicorn -b :8000 & manage.py runmetrics --port 8000"
    other = Neighbour("gunicorn", HERE, text, "0.0.0.0", 8000, span=(18, 22))
    (found,) = find_clashes([wish((8000,), text)], [other])
    assert [each.write for each in found.changes] == [
        "web: gunicorn -b :8000 & manage.py runmetrics --port 8001",
        "web: gunicorn -b :8001 & manage.py runmetrics --port 8000",
    ]


BY_PROCFILE = Starter(PROCFILE)
BY_COMPOSE = Starter(COMPOSE, "web")


@pytest.mark.parametrize(
    ("ours", "theirs", "severities"),
    [
        ({"starter": BY_PROCFILE}, {"starter": BY_PROCFILE}, ["error"]),
        ({"starter": BY_PROCFILE}, {"starter": BY_COMPOSE}, ["warning"]),
        ({"starter": BY_PROCFILE}, {"starter": BY_COMPOSE, "for_exporter": True}, []),
        ({"starter": BY_COMPOSE}, {"starter": BY_COMPOSE, "for_exporter": True}, ["error"]),
        ({}, {"starter": BY_COMPOSE}, ["error"]),
        ({}, {"presumed": True}, ["error"]),
        ({"chosen": True}, {"presumed": True}, []),
        ({}, {"port": 7990, "last": 8010}, ["error"]),
        ({}, {"port": 7990, "last": 7999}, []),
        (
            {"starter": Starter(COMPOSE, "a", frozenset({"x"}))},
            {"starter": Starter(COMPOSE, "b", frozenset({"y"}))},
            [],
        ),
        (
            {"starter": Starter(COMPOSE, "a", frozenset({"x"}))},
            {"starter": Starter(COMPOSE, "b", frozenset({"y", "x"}))},
            ["error"],
        ),
        ({"starter": Starter(COMPOSE, "a", frozenset({"x"}))}, {"starter": BY_COMPOSE}, ["error"]),
    ],
)
def test_only_what_can_run_together_clashes(
    ours: dict[str, Any], theirs: dict[str, Any], severities: list[str]
) -> None:
    """Files that are alternatives give a warning at most, profiles that never meet nothing."""
    others = [neighbour("0.0.0.0", **{"port": 8000, **theirs})]
    found = list(find_clashes([wish((8000,), "runmetrics", **ours)], others))
    assert [each.severity for each in found] == severities
    if severities == ["warning"]:
        assert "if both run on one machine" in found[0].why


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((8001,), (8001,), True),
        ((8001,), (8002,), False),
        ((8001,), (8001, 8002), True),
        ((8001, 8002), (8001, 8002), False),
        ((0,), (0,), False),
    ],
)
def test_two_exporters_clash_where_one_has_no_other_port(
    first: tuple[int, ...], second: tuple[int, ...], told: bool
) -> None:
    """Two ranges find ports for both; a fixed port is one exporter's alone."""
    found = list(find_clashes([wish(first, ""), wish(second, "")], []))
    assert bool(found) is told
    assert all(each.id.endswith("W017") and each.severity == "error" for each in found)
    apart = [wish(first, "", "127.0.0.1"), wish(second, "", "127.0.0.2")]
    assert list(find_clashes(apart, [])) == []


def test_the_address_that_clashes_is_the_one_that_is_named() -> None:
    """Of several addresses the reader sees the one that is in the way, and one finding."""
    ours = wish((8000,), "", "10.0.0.1", "127.0.0.1", "::1")
    (found,) = find_clashes([ours], [neighbour("127.0.0.1", 8000)])
    assert "by the exporter on 127.0.0.1:8000" in found.what
