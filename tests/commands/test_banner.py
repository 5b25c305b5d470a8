"""What runmetrics shows at a terminal when it begins, and what a pipe gets instead."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest
from django.core.management.color import no_style

from metrics_commands.management.banner import Beginning, make_banner
from tests.commands.terminal import COLOUR, at_terminal
from tests.processes import ROOT, clean_environment, fetch, run_manage, started

URL = "http://127.0.0.1:8001/metrics"
EVERYWHERE = ["https://0.0.0.0:8001/metrics", "https://[::]:8001/metrics"]
LOG_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] [A-Z]+: .+")


def read_rows(banner: str) -> dict[str, str]:
    """Return what a banner says, by label, its lines put together."""
    rows: dict[str, str] = {}
    label = ""
    for line in COLOUR.sub("", banner).splitlines():
        found = re.fullmatch(r" {2}(\w*) +(.+)", line)
        if found:
            label = found[1] or label
            rows[label] = f"{rows[label]} {found[2]}" if label in rows else found[2]
    return rows


def describe(**given: object) -> dict[str, str]:
    """Return the rows of the banner of such a beginning."""
    usual = {"project": "shop", "urls": [URL], "collectors": ["gc"], "directory": Path("/m")}
    return read_rows(make_banner(Beginning(**(usual | given)), no_style()))  # type: ignore[arg-type]


def test_a_person_sees_what_runs_where_and_what_is_next(tmp_path: Path) -> None:
    """At a terminal the start is one picture, and the page that it names answers."""
    with at_terminal(["runmetrics", "--port", "0"], clean_environment(tmp_path)) as terminal:
        terminal.wait_for(r"Stop +Ctrl-C")
        rows = read_rows(terminal.text)
        assert fetch(rows["Metrics"])[0] == 200
        assert fetch(rows["Page"])[0] == 200
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 0
    assert "metrics of project\n" in terminal.plain
    assert re.match(r"\d+: application, ", rows["Collectors"])
    assert rows["Directory"] == str(tmp_path / "metrics")
    assert rows["Workers"] == "none has written there yet"
    assert rows["Next"].startswith("Start the web process")
    assert COLOUR.search(terminal.text)
    laid_out = re.findall(r"^ {2}[^/\n]+$", terminal.plain, re.MULTILINE)
    assert 60 < max(map(len, laid_out)) <= 80
    assert "Serving" not in terminal.plain
    assert "INFO: Ended by a signal." in terminal.plain


def test_the_banner_takes_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    """--no-color holds for the banner too, and leaves its words."""
    arguments = ["runmetrics", "--port", "0", "--no-color"]
    with at_terminal(arguments, clean_environment(tmp_path)) as terminal:
        terminal.wait_for(r"Stop +Ctrl-C")
    assert "\x1b" not in terminal.text
    assert "Collectors" in terminal.text


def test_a_log_for_machines_has_no_banner(tmp_path: Path) -> None:
    """Whoever asks for JSON gets JSON, at a terminal too."""
    arguments = ["runmetrics", "--port", "0", "--log-format", "json"]
    with at_terminal(arguments, clean_environment(tmp_path), columns=1000) as terminal:
        terminal.wait_for('"urls"')
    assert all(line.startswith("{") for line in terminal.text.splitlines())


def test_a_pipe_gets_log_lines_only(tmp_path: Path) -> None:
    """Where nobody looks, each line is one of the log, and the last is the URL."""
    command: list[str | Path] = [sys.executable, ROOT / "manage.py", "runmetrics", "--port", "0"]
    with started(command, clean_environment(tmp_path)) as process:
        process.wait_for(r"Serving http://.+\n")
    assert all(LOG_LINE.fullmatch(line.rstrip("\n")) for line in process.lines)
    said = [line.split(": ", 1)[1] for line in process.lines if " INFO: " in line]
    assert [each.split()[0] for each in said] == ["Collectors:", "Metrics", "No", "Page", "Serving"]


def test_a_scrape_for_a_pipe_has_no_banner(tmp_path: Path) -> None:
    """--once begins nothing, so it announces nothing."""
    answer = run_manage(clean_environment(tmp_path), "runmetrics", "--once")
    with at_terminal(["runmetrics", "--once"], clean_environment(tmp_path), piped=True) as terminal:
        assert terminal.wait() == 0
    assert terminal.plain.count("\n") == answer.stderr.count("\n")


@pytest.mark.parametrize(
    ("given", "row", "said"),
    [
        ({"workers": 3}, "Workers", "3 have left value files there"),
        ({"workers": 3}, "Next", "Open http://127.0.0.1:8001/ in a browser"),
        ({"directory": None}, "Directory", "none: the numbers of workers are missing"),
        ({"directory": None}, "Next", "use_metrics_directory"),
        ({"urls": [URL, "http://[::1]:8001/metrics"]}, "Metrics", "http://[::1]:8001/metrics"),
        ({"urls": EVERYWHERE}, "Metrics", " ".join(EVERYWHERE)),
        ({"urls": EVERYWHERE}, "Page", "https://127.0.0.1:8001/ https://[::1]:8001/"),
        ({"urls": EVERYWHERE, "workers": 1}, "Next", "Open https://127.0.0.1:8001/ in"),
        ({"collectors": ["gc", "http"]}, "Collectors", "2: gc, http"),
        ({"directory": Path("/a\x1b[2J")}, "Directory", r"/a\x1b[2J"),
        ({"directory": Path("/" + "long-" * 40)}, "Directory", "long-" * 40),
    ],
)
def test_each_row_says_what_is(given: dict[str, object], row: str, said: str) -> None:
    """Every URL, what is missing, and the step that leads on; a path stays in one piece."""
    assert said in describe(**given)[row]
