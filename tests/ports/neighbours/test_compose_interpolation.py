"""Variables in compose files and .env files."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.ports.neighbours.interpolation import interpolate, read_variables

VARIABLES = {"SET": "8000", "EMPTY": "", "lower_1": "x"}
words = st.text("az09:/.-", max_size=4)
names = st.sampled_from([*VARIABLES, "UNSET"])
templates = st.recursive(
    words | st.builds("${}".format, names.map(lambda name: f"{{{name}}}")),
    lambda inner: st.builds(
        lambda before, name, operator, word: f"{before}${{{name}{operator}{word}}}",
        inner,
        names,
        st.sampled_from([":-", "-", ":+", "+"]),
        inner,
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$SET:80", "8000:80"),
        ("${SET}0", "80000"),
        ("$UNSET-${UNSET}", "-"),
        ("$$SET and $${SET:-x}", "$SET and ${SET:-x}"),
        ("${UNSET:-a}${UNSET-b}${EMPTY:-c}${EMPTY-d}", "abc"),
        ("${SET:?must be set}${SET?}${UNSET:?must be set}", "80008000"),
        ("${SET:+a}${SET+b}${EMPTY:+c}${EMPTY+d}${UNSET+e}", "abd"),
        ("${UNSET:-${EMPTY:-${SET}}}", "8000"),
        ("${UNSET:-$$}", "$"),
        ("a } b", "a } b"),
        ("${lower_1}", "x"),
    ],
)
def test_variables_are_replaced_as_compose_does(text: str, expected: str) -> None:
    """A port that comes from a variable is the port that compose would publish."""
    assert interpolate(text, VARIABLES) == expected


@pytest.mark.parametrize("text", ["$", "${", "${}", "${SET", "${SET:-a", "$1", "${SET!x}", "$-"])
def test_what_compose_refuses_is_refused(text: str) -> None:
    """A template that compose would not start with is not given a meaning."""
    with pytest.raises(ValueError, match=r"."):
        interpolate(text, VARIABLES)


@pytest.mark.parametrize("text", ["${a:-" * 100_000, "$BIG" * 1_000, "$$" * 20_000])
def test_a_template_cannot_eat_memory(text: str) -> None:
    """Templates inside each other, or huge, end at once."""
    with pytest.raises(ValueError, match="too"):
        interpolate(text, {"BIG": "x" * 1_000})


@settings(max_examples=10, deadline=None)
@given(st.lists(templates, min_size=20, max_size=60))
def test_defaults_mean_what_the_shell_says(many: list[str]) -> None:
    """What compose took from the shell means the same in both."""
    script = "\n".join(f'printf "%s\\n" "{each}"' for each in many)
    done = subprocess.run(
        ["sh", "-c", script], env=VARIABLES, capture_output=True, text=True, check=True
    )
    assert [interpolate(each, VARIABLES) for each in many] == done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("PORT=8000", {"PORT": "8000"}),
        ("  export PORT = 8000  # the web's", {"PORT": "8000"}),
        ("PORT=a#b", {"PORT": "a#b"}),
        ("PORT='$SET # x'", {"PORT": "$SET # x"}),
        (r'PORT="a\n\"$SET\" # \$SET" # x', {"PORT": 'a\n"8000" # $SET'}),
        ("PORT=${UNSET:-1}$SET", {"PORT": "18000"}),
        ("A=1\r\nB=${A}2\r\n", {"A": "1", "B": "12"}),
        ("SET", {"SET": "8000"}),
        ("UNSET", {}),
        ("PORT=", {"PORT": ""}),
        ("PORT=${", {"PORT": "${"}),
        ("# PORT=1\n\n=2\n%%%", {}),
    ],
)
def test_env_files_are_read(line: str, expected: dict[str, str]) -> None:
    """A .env file gives its variables, with quotes, comments and references."""
    assert read_variables(line, VARIABLES) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("${}:-?+AB=\"'\\# \n"), max_size=60))
def test_any_env_file_is_read(text: str) -> None:
    """No .env file, however broken, stops the look."""
    assert all(isinstance(value, str) for value in read_variables(text, {"A": "1"}).values())
