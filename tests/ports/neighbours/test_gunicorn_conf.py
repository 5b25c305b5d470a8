"""A gunicorn.conf.py is understood without being run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.ports.neighbours.file import UnreadableError, read_text
from metrics_commands.ports.neighbours.gunicorn_conf import parse_binds

ENVIRONMENT = {"PORT": "8000", "HOST": "10.0.0.1"}


def read(folder: Path, source: str) -> list[str] | None:
    """Return the addresses that a file with this source binds."""
    path = folder / "gunicorn.conf.py"
    path.write_text(source)
    binds = parse_binds(read_text(path), ENVIRONMENT)
    return None if binds is None else [each.address for each in binds]


@pytest.mark.parametrize(
    "source",
    [
        "bind = '0.0.0.0:8000'",
        "bind = ['0.0.0.0:8000', '[::1]:8001']",
        "bind = ('a:1',)",
        "bind: str = ':1'",
        "import os\nbind = '0.0.0.0:' + os.environ['PORT']",
        "import os\nbind = f\"0.0.0.0:{os.environ.get('PORT', 9000)}\"",
        "import os\nbind = f\"0.0.0.0:{os.getenv('MISSING', 9000)}\"",
        "from os import environ\nbind = '%s:%d' % (environ['HOST'], int(environ['PORT']) + 1)",
        "from os import getenv\nbind = '{}:{port}'.format(getenv('HOST'), port=7000)",
        "import os\nport = int(os.environ.get('MISSING') or 8002)\nbind = ':' + str(port)",
        "import os\nbind = ':1' if os.environ.get('PORT') else ':2'",
        "host, port = 'localhost', 8003\nbind = f'{host}:{port!s}'",
        "hosts = ['a:1']\nhosts += ['b:2']\nbind = hosts",
        "bind = 'a:1'\nbind = 'b:2'",
        "if True:\n    bind = 'a:1'",
        "try:\n    import nothing_of_that_name\nexcept ImportError:\n    bind = 'a:1'",
        "with open('/dev/null'):\n    bind = 'a:1'",
        "def bind_it():\n    bind = 'a:1'\nworkers = 2",
        "class Settings:\n    bind = 'a:1'",
        "# bind = 'a:1'",
        "",
    ],
)
def test_what_python_would_compute_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Constants, names, environment variables and string formats give what running would."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(source, names)
    expected = names.get("bind", [])
    assert read(tmp_path, source) == ([expected] if isinstance(expected, str) else list(expected))


@pytest.mark.parametrize(
    "source",
    [
        "bind = choose()",
        "bind = f'0.0.0.0:{port}'",
        "bind = os.environ['MISSING']",
        "from settings import bind",
        "bind = '0.0.0.0:%1000000000d' % 1",
        "bind = '{:>1000000000}'.format(1)",
        "bind = f'{1:>1000000000}'",
        "bind = 'x' * 1000000000",
        "bind = ':' + str(int('9' * 9))",
        "bind = '%(a)s' % 1",
        "bind = '{}'.format()",
        "bind = int('x')",
        "bind = 1 + 'x'",
        "bind = " + "+".join(["'x'"] * 200),
        "bind, other = choose()",
    ],
)
def test_what_only_running_could_tell_is_unknown(tmp_path: Path, source: str) -> None:
    """A bind that is computed elsewhere is never guessed."""
    assert read(tmp_path, source) is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if debug():\n    bind = 'a:1'\nelse:\n    bind = 'b:2'", ["a:1", "b:2"]),
        ("bind = 'a:1'\nif debug():\n    bind = 'b:2'", ["b:2", "a:1"]),
        ("if a():\n    bind = 'a:1'\nelif b():\n    bind = 'b:2'\nelse:\n    bind = 'c:3'",
         ["a:1", "b:2", "c:3"]),
        ("if a():\n    p = 1\nelse:\n    p = 2\nbind = f'a:{p}'", None),
        ("if a():\n    bind = choose()\nelse:\n    bind = 'b:2'", ["b:2"]),
        ("if environ.get('PORT'):\n    bind = 'a:1'\nelse:\n    bind = 'b:2'", ["a:1"]),
        ("if 0:\n    bind = 'a:1'\nelse:\n    bind = 'b:2'", ["b:2"]),
    ],
)  # fmt: skip
def test_the_last_assignment_that_can_be_told_counts(
    tmp_path: Path, source: str, expected: list[str] | None
) -> None:
    """Of branches each counts where nothing tells which is taken; else the one that is."""
    assert read(tmp_path, source) == expected


def test_many_branches_are_cut_short(tmp_path: Path) -> None:
    """A file of thousands of branches is followed to a limit, and ends nothing."""
    found = read(tmp_path, "if a():\n    bind = 'a:1'\n" + "elif b():\n    bind = 'b:2'\n" * 900)
    assert found is not None
    assert set(found) == {"a:1", "b:2"}
    assert len(found) <= 100


def test_each_bind_has_its_own_line(tmp_path: Path) -> None:
    """The line to change is known for each address of a list."""
    path = tmp_path / "gunicorn.conf.py"
    path.write_bytes(b"# \x0c first\r\nbind = [\r\n    'a:1',  # here\r\n    'b:2',\r\n]\r\n")
    binds = parse_binds(read_text(path), {})
    assert binds == [("a:1", 3, "'a:1',  # here"), ("b:2", 4, "'b:2',")]


@pytest.mark.parametrize(
    "source",
    [
        "bind = ",
        "bind = '\0'",
        "(" * 10_000,
        "-" * 50_000 + "1",
        "bind = " + "a." * 40_000 + "b",
        "bind = " + "[" * 150 + "]" * 150,
        "x = '" + "y" * 100_000 + "'",
    ],
    ids=lambda source: source[:9],
)
def test_what_is_no_python_is_refused_or_unknown(tmp_path: Path, source: str) -> None:
    """A broken or absurd file is said not to be readable, and ends nothing."""
    try:
        reason = f"Python: {read(tmp_path, source)}"
    except UnreadableError as error:
        reason = str(error)
    assert reason == "Python: None" or reason.startswith(("it is not valid", "it has more"))


def test_values_that_double_stay_small(tmp_path: Path) -> None:
    """A short file cannot make a long text."""
    source = "a = 'x' + ':1'\n" + "a = a + a\n" * 5_000 + "bind = a\n"
    started = time.process_time()
    assert read(tmp_path, source) is None
    assert time.process_time() - started < 1


PIECES = (
    "bind = ", "'a:1'", "[", "]", "(", ")", "f'{", "}'", "os.environ", ".get(", "'PORT'", "['",
    "']", "\n", "if x:\n    ", "else:\n    ", " + ", " % ", ".format(", "int(", ",", "bind += ",
    "x, y = ",
    "9" * 5_000, "'%s'", "'{}'", "lambda: 0", "'\\d'", "**", "*a", "x if y else z", "try:\n    ",
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.lists(st.sampled_from(PIECES), max_size=12).map("".join).map(str.encode)
)
def test_any_file_can_be_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a file holds, it is read or refused."""
    path = tmp_path_factory.getbasetemp() / "any.conf.py"
    path.write_bytes(content)
    try:
        binds = parse_binds(read_text(path), ENVIRONMENT)
    except UnreadableError:
        return
    assert binds is None or all(each.line >= 1 for each in binds)
