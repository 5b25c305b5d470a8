"""What is laid out for a terminal, and what checkports shows at a real one."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from django.core.management.color import no_style
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.management.layout import NARROWEST_TEXT, Row, lay_out
from tests.commands.terminal import COLOUR, at_terminal
from tests.processes import clean_environment, free_port, run_manage


@settings(max_examples=200, deadline=None)
@given(st.lists(st.builds(Row, st.text(), st.text(max_size=40)), max_size=4))
def test_no_text_moves_the_cursor_or_loses_a_letter(rows: list[Row]) -> None:
    """Whatever a file name or a line of a file holds, it is shown, and does nothing else."""
    lines = list(lay_out(rows, no_style()))
    assert all(line.isprintable() for line in lines)
    words = "".join("".join(lines).split())
    assert words == "".join("".join(str(Row(r.label + r.text)) for r in rows).split())


@pytest.mark.parametrize("columns", ["1", "60", "1000"])
def test_texts_are_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Long sentences are broken below each other; what is to be copied never is."""
    monkeypatch.setenv("COLUMNS", columns)
    prose, code = "word " * 80, "python manage.py " * 20
    lines = list(lay_out([Row(prose, "Label"), Row(code, is_code=True)], no_style()))
    assert lines[-1].strip() == code.strip()
    assert len({len(line) - len(line.lstrip()) for line in lines[1:]}) == 1
    longest = max(len(line) for line in lines[:-1])
    assert longest <= max(min(int(columns), 100), NARROWEST_TEXT + 7)


def look(home: Path, *options: str, columns: int = 80) -> tuple[int, str]:
    """Return the exit code of checkports at a terminal, and what it shows."""
    environment = clean_environment(home)
    with at_terminal(["checkports", *options], environment, columns=columns) as terminal:
        return terminal.wait(), terminal.text


def test_a_terminal_has_columns_and_colours(tmp_path: Path) -> None:
    """A person sees at a glance what is free, what is wrong, and what to write."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, shown = look(tmp_path, "--port", str(port))
    assert code == 1
    assert f"\x1b[31;1m127.0.0.1:{port}\x1b[0m  is taken by " in shown
    assert "\x1b[31;1mERROR\x1b[0m" in shown
    plain = COLOUR.sub("", shown)
    ports, findings, advice = plain.rstrip("\n").split("\n\n")
    assert ports.startswith(f"127.0.0.1:{port}  is taken by ")
    labels = {line.split(" ", 1)[0] for line in findings.splitlines() if line[0] != " "}
    assert "ERROR" in labels
    # Every text begins in one column, that of the longest label.
    column = max(map(len, labels)) + 2
    assert all(line[column - 1] == " " != line[column] for line in findings.splitlines())
    assert advice
    assert max(map(len, plain.splitlines())) <= 80


@pytest.mark.parametrize("option", [["--no-color"], ["--json"]], ids=["no colour", "json"])
def test_a_terminal_without_colours(tmp_path: Path, option: list[str]) -> None:
    """Who wants no colours, or JSON, gets not one escape."""
    code, shown = look(tmp_path, "--port", str(free_port()), *option, columns=2000)
    assert code == 0
    assert "\x1b" not in shown


def test_a_pipe_and_a_terminal_say_the_same(tmp_path: Path) -> None:
    """What is laid out differs from what is piped in colour, space and line breaks alone."""
    options = ["--port-range", "22-24", "--address", "127.0.0.1", "--address", "192.0.2.1"]
    piped = run_manage(clean_environment(tmp_path), "checkports", *options)
    code, shown = look(tmp_path, *options)
    assert code == piped.returncode
    assert "\x1b" not in piped.stdout
    said = [re.sub(r"[\s:]", "", each) for each in (piped.stdout, COLOUR.sub("", shown))]
    assert said[0] == said[1]
    assert "192.0.2.1:22: 192.0.2.1 is not an address of this machine" in piped.stdout
