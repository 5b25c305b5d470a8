"""Lines are split and expanded as the real shell does it."""

from __future__ import annotations

import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.ports.neighbours.shell import LONGEST_LINE, UNKNOWN, split

VARIABLES = {"PORT": "8000", "EMPTY": "", "SPACED": " a  b ", "PATH": "/usr/bin:/bin"}

PIECES = (
    "a", "b=c", " ", " ", "'", "'x y'", '"', '"$PORT"', "$PORT", "${PORT}", "$EMPTY", '"$EMPTY"',
    "${MISSING:-d}", "${EMPTY-d}", "${EMPTY:-d e}", "${PORT:+yes}", "${MISSING+no}", "$SPACED",
    '"$SPACED"', "${A:=w}", "$A", "${MISSING:-${PORT:-1}}", '"${MISSING:-"q"}"', "\\$", "\\\\",
    "\\ ", ":", "#", "é", " 2>&1 ",
)  # fmt: skip


def ask_shell(line: str) -> list[str] | None:
    """Return the arguments that a real shell gives to a printf; None where it refuses the line."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env=VARIABLES,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return None if done.returncode else done.stdout.decode().split("\0")[:-1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_words_are_those_of_the_real_shell(pieces: list[str]) -> None:
    """Quotes, spaces, defaults and nested variables mean what sh says they mean."""
    line = f"printf '%s\\0' start {''.join(pieces)}"
    words = ask_shell(line)
    if words is not None:
        assert split(line, VARIABLES)[0].words[2:] == words


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("a; b && c | d || e & f\ng", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("if true; then run; fi", [["true"], ["run"]]),
        ("(cd x && run) >log 2>&1 </dev/null", [["cd", "x"], ["run"]]),
        ("run 2>err arg &> all", [["run", "arg"]]),
        ("run # not this", [["run"]]),
        ("run a#b '#c'", [["run", "a#b", "#c"]]),
        ("run \\\n  --more", [["run", "--more"]]),
        ("X=1 Y='2 3' run", [["run"]]),
        ("run X=1", [["run", "X=1"]]),
        ("X=9; run $X", [["run", "9"]]),
        ("run $(date; echo ')') b", [["run", UNKNOWN, "b"]]),
        ("run :`id`", [["run", ":" + UNKNOWN]]),
        ("run $1 \"$@\" ${PORT%0}", [["run", UNKNOWN, UNKNOWN, UNKNOWN]]),
        ("run ${MISSING:?no port}", [["run", UNKNOWN]]),
        ("", []),
        ("   # nothing", []),
    ],
)  # fmt: skip
def test_a_line_is_split_into_its_commands(line: str, commands: list[list[str]]) -> None:
    """Each program of a line is seen, and what only running could tell is unknown."""
    assert [each.words for each in split(line, VARIABLES)] == commands


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("PORT=1 run", "1"),
        ("PORT=1 first; run", "8000"),
        ("export PORT=1; run", "1"),
        ("PORT=1; run", "1"),
        ("export PORT; PORT=2; run", "2"),
        ("OTHER=$PORT run", "8000"),
    ],
)
def test_a_program_sees_the_variables_that_the_shell_gives_it(line: str, seen: str) -> None:
    """An assignment holds for its own command, an exported one for all that follow."""
    assert split(line, VARIABLES)[-1].environment["PORT"] == seen


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("run $PORT", {"PORT": "8000"}),
        ("run ${MISSING:-9000}", {"MISSING": "9000"}),
        ("run '$PORT' \\$PORT", {}),
        ("run ${PORT:-$EMPTY}", {"PORT": "8000"}),
        ("run ${MISSING:+$PORT}", {"MISSING": ""}),
    ],
)
def test_it_is_told_which_variables_a_command_used(line: str, used: dict[str, str]) -> None:
    """A variable counts as used only where the shell would really have looked at it."""
    assert split(line, VARIABLES)[0].used == used


@settings(max_examples=100, deadline=None)
@given(st.text() | st.lists(st.sampled_from([*PIECES, "${", "}", "$(", ")", "`"])).map("".join))
def test_any_text_can_be_split(line: str) -> None:
    """Whatever stands in a line, it is read."""
    for each in split(line, VARIABLES):
        assert each.words


@pytest.mark.parametrize(
    "line",
    [
        "${A:-" * 20_000,
        "$(" * 50_000,
        "${A:-" + "'a'" * 40_000,
        "A=xx;" + "A=$A$A;" * 15_000,
        "run " + "$LONG" * 25_000,
        "a;" * 60_000,
        "'" * 131_001,
        '"' * 131_001,
        "`" * 131_001,
        "a " * 65_000,
        "x" * (LONGEST_LINE + 1),
    ],
    ids=lambda line: line[:6],
)
def test_a_hostile_line_ends_quickly(line: str) -> None:
    """No line costs more than its length."""
    started = time.process_time()
    split(line, VARIABLES | {"LONG": "x" * 100_000})
    assert time.process_time() - started < 1
