"""Compose files that were made to break their reader."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics_commands.finding import make_id
from metrics_commands.ports.neighbours.compose import read_compose
from metrics_commands.ports.neighbours.neighbour import Survey
from tests.ports.neighbours.test_compose import SHOP

# Generous, since a machine may be busy: what is bounded takes a fraction, what is not takes hours.
LONGEST = 3.0
fuzz = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
KEYS = [
    "services", "web", "metrics", "<<", "command", "entrypoint", "environment", "env_file", "ports",
    "expose", "network_mode", "volumes", "volumes_from", "extends", "deploy", "replicas", "scale",
    "target", "published", "host_ip", "protocol", "source", "type", "file", "service", "path",
    "required", "include", "build", "context", "image",
]  # fmt: skip
TEXTS = [
    "8000:80", "1-65535:1-65535", "[::1]:80:80", "web", "service:web", "host", "gunicorn w -b :1",
    "manage.py runmetrics --port 8000", "sh -c 'gunicorn w'", "$A", "${A:-${B}}", "a=b", "./x:/x",
    "..", "", "\0", "~", "tcp", "false",
]  # fmt: skip
scalars = st.sampled_from(TEXTS) | st.integers() | st.none() | st.booleans() | st.floats()
keys = st.sampled_from(KEYS) | st.text(max_size=3) | st.integers()
trees = st.recursive(
    scalars | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)
service = st.dictionaries(keys, trees, max_size=5)


def read(folder: Path, content: bytes | str) -> Survey:
    """Return what a file says, in time."""
    path = folder / "compose.yaml"
    path.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
    begin = time.monotonic()
    found = read_compose(path, {"A": "8000"})
    assert time.monotonic() - begin < LONGEST
    return found


def reasons(found: Survey) -> str:
    """Return what is said about what was not read."""
    return " ".join(each.what for each in found.findings if each.id == make_id(19))


@fuzz
@given(content=st.binary(max_size=200))
def test_any_bytes_are_survived(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no YAML claim no port."""
    assert read(tmp_path, content).neighbours == []


@fuzz
@given(tree=st.builds(lambda many: {"services": many}, st.dictionaries(keys, service, max_size=3)))
def test_any_tree_is_survived(tmp_path: Path, tree: object) -> None:
    """YAML of any shape, where compose has another, is no error."""
    read(tmp_path, yaml.safe_dump(tree))


@fuzz
@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, len(SHOP)),
            st.integers(0, 3),
            st.sampled_from("&*<:-[]{}'\"$!|>#%\t\n\0 aZ0é\x85\u2028") | st.just(""),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_a_damaged_file_is_survived(tmp_path: Path, cuts: list[tuple[int, int, str]]) -> None:
    """A file with characters lost, changed or added is read, or said not to be."""
    text = dedent(SHOP)
    for start, length, extra in cuts:
        text = text[:start] + extra + text[start + length :]
    found = read(tmp_path, text)
    lines = [each.place.line for each in found.neighbours + found.exporters]
    assert all(0 < line <= len(text.splitlines()) for line in lines)


def laugh(wrap: str) -> str:
    """Return aliases of aliases, ten each, which would be a thousand million items."""
    lines = ["a0: &a0 ['8000:80']"]
    lines += [
        f"a{number}: &a{number} {wrap.format(', '.join([f'*a{number - 1}'] * 10))}"
        for number in range(1, 10)
    ]
    return "\n".join([*lines, "services: {web: {ports: *a9, command: *a9, environment: *a9}}"])


@pytest.mark.parametrize(
    "text",
    [
        laugh("[{}]"),
        laugh("{{<<: [{}]}}"),
        laugh("{{x: [{}]}}"),
        "services: &a\n  web: *a\n  command: *a\n  ports: *a\n",
        "services:\n  web: &a\n    <<: [*a, *a]\n    extends: *a\n    environment: *a\n",
        "services: {web: {ports: &a [*a], command: &b [*b], volumes: &c {x: *c}}}",
        "services:\n  a: &a {extends: b, network_mode: 'service:b', volumes_from: [b]}\n  b: *a",
        "services:\n  a: &a {extends: b, command: manage.py runmetrics}\n  b: {<<: *a, extends: a}",
    ],
)
def test_aliases_cannot_explode(tmp_path: Path, text: str) -> None:
    """Aliases of aliases, and what contains itself, cost no more than their lines."""
    found = read(tmp_path, text)
    assert found.neighbours == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 500,
        "[" * 10_000,
        "{a: " * 10_000,
        "- " * 10_000,
        "? " * 10_000,
        "a: " + "[[" * 5_000 + "]]" * 5_000,
        "[\n" * 400_000,
    ],
)
def test_depth_has_an_end(tmp_path: Path, text: str) -> None:
    """A file that nests without end is not read."""
    # Since PyYAML 6.0.4 its own parser may end it first.
    assert re.search("it is too deep|maximum nesting depth", reasons(read(tmp_path, text)))


def many(make: Callable[[int], str], count: int) -> str:
    """Return services that a function makes by number."""
    return "services:\n" + "".join(f"  s{number}: {make(number)}\n" for number in range(count))


@pytest.mark.parametrize(
    "text",
    [
        "a: [" + "x, " * 300_000 + "]",
        "a: &a x\nb: [" + "*a, " * 5_000 + "]",
        "services: {a: {command: '" + "x" * 20_000 + "'}}",
        "services: {a: {ports: [" + "'1-65535:1-65535', " * 50 + "]}}",
        "x: &a {ports: [" + "'8000:80', " * 2_000 + "]}\n" + many(lambda _: "*a", 500),
        many(lambda number: f"{{extends: s{number - 1}, ports: ['80:80']}}", 900),
        "x: &a {" + ", ".join(f"k{each}: v" for each in range(5_000)) + "}\n"
        + many(lambda _: "{<<: *a, environment: *a, command: gunicorn w}", 400),
        "x: &a [" + "gunicorn, " * 3_000 + "]\n" + many(lambda _: "{command: *a}", 500),
        "x: &a " + "gunicorn;" * 1_500 + "\n" + many(lambda _: "{command: [sh, -c, *a]}", 500),
    ],
)  # fmt: skip
def test_size_has_an_end(tmp_path: Path, text: str) -> None:
    """A file that asks for too much work gets some, and the rest is said not to be read."""
    found = read(tmp_path, text)
    assert "too large" in reasons(found) or "too long" in reasons(found)


def test_many_services_are_no_attack(tmp_path: Path) -> None:
    """A deployment of a hundred services and more is read whole."""
    text = many(lambda number: f"{{command: gunicorn w, ports: ['{8000 + number}:80']}}", 150)
    found = read(tmp_path, text)
    assert found.findings == []
    assert len(found.neighbours) == 300


@pytest.mark.parametrize("name", ["compose.yaml", "compose.override.yaml", ".env", "a.env"])
def test_no_file_is_waited_for(tmp_path: Path, name: str) -> None:
    """A pipe in the place of a file does not hold up the look, and is said."""
    text = "services: {web: {command: gunicorn w, env_file: a.env}}\n"
    for each in ("compose.yaml", "a.env"):
        (tmp_path / each).write_text(text if each == "compose.yaml" else "")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    found = read_compose(tmp_path / "compose.yaml", {})
    assert name in reasons(found)
    assert "regular file" in reasons(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("services: {a: b: c}", "line 1: "),
        ("services:\n\t- x", "line 2: "),
        ("a: *nobody", "line 1: an alias has no anchor"),
        ("a: \x01", "characters"),
        (b"\xff\xfe\x00", "UTF-8"),
        ("x" * 1_100_000, "bytes"),
    ],
)
def test_why_a_file_is_not_read_is_said(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """Whoever has a broken file learns what is wrong with it, in one sentence."""
    (finding,) = read(tmp_path, text).findings
    assert finding.what.startswith("compose.yaml was not read: ")
    assert reason in finding.what
    assert finding.severity == "warning"
