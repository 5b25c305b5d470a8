"""The project's own collectors in a real exporter: a crowd of them, good and bad."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from metrics_commands.collectors.registry import DEFAULT_SECONDS
from tests.processes import (
    ROOT,
    Samples,
    exporter,
    fetch,
    parse_samples,
    run_manage,
    sample,
    wait_until,
)
from tests.processes import (
    scrape as scrape_all,
)

AddApp = Callable[[str], dict[str, str]]

SUCCESS = "django_exporter_collector_success"
TIMEOUT_SECONDS = 4.0
HURRY = {"X-Prometheus-Scrape-Timeout-Seconds": str(TIMEOUT_SECONDS)}
# From a deadline to when a client on a busy machine sees it.
MARGIN_SECONDS = 10.0
# The functions of a kind differ by their names alone.
CROWD = """
    import os, threading, time
    from metrics_commands.collectors import collector

    def good():
        return 1

    def fail():
        raise LookupError("as it should")

    def hang():
        threading.Event().wait()

    def slow():
        while not os.path.exists(os.environ["GO"]):
            time.sleep(0.02)
        return 1

    for i in range(10):
        collector(name=f"hang_{i}")(hang)
        collector(name=f"fail_{i}")(fail)
        collector(name=f"slow_{i}")(slow)
        collector(name=f"impatient_{i}", timeout=0.2)(hang)
    for i in range(70):
        collector(name=f"good_{i}")(good)
"""
NOTED = """
    import os, sys
    from metrics_commands.collectors import collector

    with open(os.environ["NOTES"], "a") as notes:
        notes.write(" ".join(sys.argv[1:2]) + "\\n")

    @collector
    def called():
        with open(os.environ["NOTES"], "a") as notes:
            notes.write("called\\n")
        return 1

    collector(name="wrong", interval="often")(called)
"""
WRONG = """
    from metrics_commands.collectors import collector

    @collector(labels="bad-label")
    def bad_label():
        return 1

    @collector(interval="often")
    def bad_interval():
        return 1

    @collector(intervall=3)
    def bad_argument():
        return 1

    @collector
    async def bad_function():
        return 1

    @collector
    def bad_number():
        return "x"
"""
RAISES = """
    from metrics_commands.collectors import collector

    def look_up():
        raise LookupError("as it should")

    @collector
    def raises():
        yield look_up()
"""


@pytest.fixture
def add_app(environment: dict[str, str], tmp_path: Path) -> AddApp:
    """Return what gives the shop another app, with collectors."""

    def add(source: str) -> dict[str, str]:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "__init__.py").touch()
        (tmp_path / "own" / "collectors.py").write_text(dedent(source))
        (tmp_path / "owning.py").write_text(
            "from project.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS, 'own']\n"
        )
        return environment | {
            "DJANGO_SETTINGS_MODULE": "owning",
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
            "GO": str(tmp_path / "go"),
            "NOTES": str(tmp_path / "notes"),
        }

    return add


def list_well(samples: Samples, kind: str) -> list[float]:
    """Return whether each collector of a kind has worked."""
    return [
        number
        for (name, labels), number in samples.items()
        if name == SUCCESS and dict(labels)["collector"].startswith(f"{kind}_")
    ]


def test_of_a_crowd_the_good_are_served_in_time(add_app: AddApp, tmp_path: Path) -> None:
    """Prometheus' timeout holds with many that hang, fail and dawdle."""
    with exporter(add_app(CROWD)) as (process, url):

        def scrape() -> tuple[Samples, float]:
            start = time.monotonic()
            status, _, page = fetch(url, "GET", None, **HURRY)
            assert status == 200
            return parse_samples(page.decode()), time.monotonic() - start

        first, seconds = scrape()
        assert seconds < TIMEOUT_SECONDS + MARGIN_SECONDS
        assert list_well(first, "good") == [1] * 70
        for kind in ("hang", "fail", "slow", "impatient"):
            assert list_well(first, kind) == [0] * 10
        # Nobody waits again for those that are at work still.
        wait_until(lambda: scrape()[1] < seconds / 2)
        assert sample(first, "good_69") == 1
        assert sample(first, "slow_0") is None

        (tmp_path / "go").touch()
        wait_until(lambda: list_well(scrape()[0], "slow") == [1] * 10)
        last = scrape()[0]
        assert sample(last, "slow_9") == 1
        assert list_well(last, "hang") == [0] * 10
        assert process.output.count("LookupError: as it should") == 10


def test_a_timeout_of_its_own_ends_the_wait(add_app: AddApp) -> None:
    """Whoever scrapes without a timeout does not wait longer for a function than it says."""
    with exporter(add_app(CROWD)) as (_, url):
        start = time.monotonic()
        samples = scrape_all(f"{url}?collect[]=impatient_0&collect[]=good_0")
        assert time.monotonic() - start < DEFAULT_SECONDS
        assert list_well(samples, "impatient") == [0]
        assert sample(samples, "good_0") == 1


def test_only_the_exporter_imports_collectors(add_app: AddApp, tmp_path: Path) -> None:
    """Other commands never see them; checkports judges them, with the line, and calls none."""
    environment = add_app(NOTED)
    for command in (("shell", "-c", "pass"), ("check",), ("migrate",)):
        done = run_manage(environment, *command)
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "notes").exists()

    told = run_manage(environment, "checkports", "--json")
    findings = json.loads(told.stdout)["findings"]
    (finding,) = [each for each in findings if each["id"] == "metrics_commands.W043"]
    assert finding["severity"] == "error"
    assert f"{tmp_path}/own/collectors.py:14: collector 'wrong' has the interval" in finding["what"]
    assert (tmp_path / "notes").read_text() == "checkports\n"

    done = run_manage(environment, "runmetrics", "--once", "--no-collector", "gc")
    samples = parse_samples(done.stdout)
    assert sample(samples, "called") == 1
    assert sample(samples, SUCCESS, collector="wrong") == 0
    assert "own/collectors.py:14: collector 'wrong' has the interval 'often'" in done.stderr
    assert (tmp_path / "notes").read_text().splitlines()[1:] == ["runmetrics", "called"]


@pytest.mark.parametrize(("options", "on"), [((), True), (("--no-collector", "called"), False)])
def test_options_know_the_names(add_app: AddApp, options: tuple[str, ...], on: bool) -> None:
    """A collector of one's own is switched off as any other."""
    done = run_manage(add_app(NOTED), "runmetrics", "--once", *options)
    assert (sample(parse_samples(done.stdout), "called") == 1) == on
    assert done.returncode == 0


def test_each_mistake_is_one_line(add_app: AddApp, tmp_path: Path) -> None:
    """What a person can correct is told once, with file and line, and without our own frames."""
    done = run_manage(add_app(WRONG), "runmetrics", "--once")
    samples = parse_samples(done.stdout)
    told = [line for line in done.stderr.splitlines() if "bad_" in line]
    names = ["label", "interval", "argument", "function", "number"]
    assert [f"bad_{each}" in line for each, line in zip(names, told, strict=True)] == [True] * 5
    assert all(f"{tmp_path}/own/collectors.py:" in line for line in told)
    assert "'x' is not a number" in told[-1]
    assert "Traceback" not in done.stderr
    assert [sample(samples, SUCCESS, collector=f"bad_{each}") for each in names] == [0] * 5
    assert sample(samples, SUCCESS, collector="shop_ordered_items") == 1


@pytest.mark.parametrize(
    ("source", "last"), [(RAISES, "LookupError"), ("1 // 0", "ZeroDivision"), ("def f(:", "Syntax")]
)
def test_a_traceback_begins_in_the_project(
    add_app: AddApp, tmp_path: Path, source: str, last: str
) -> None:
    """Whoever wrote the code reads once where it raised, and not how the exporter came there."""
    done = run_manage(add_app(source), "runmetrics", "--once")
    assert done.stderr.count(f"\n{last}") == 1
    frames = [line for line in done.stderr.splitlines() if line.startswith('  File "')]
    assert frames
    assert all(f'File "{tmp_path}/own/collectors.py"' in frame for frame in frames)


def test_one_broken_module_costs_the_exporter_nothing(add_app: AddApp) -> None:
    """The exporter starts, tells the line and the traceback, and shows all of the others."""
    with exporter(add_app("import nothing_of_that_name"), "--no-collector", "in_there") as (
        process,
        url,
    ):
        samples = scrape_all(url)
        assert sample(samples, SUCCESS, collector="own.collectors") == 0
        assert sample(samples, SUCCESS, collector="shop_ordered_items") == 1
        assert "own/collectors.py:1: own.collectors cannot be imported" in process.output
        assert process.output.count("import nothing_of_that_name") == 1
