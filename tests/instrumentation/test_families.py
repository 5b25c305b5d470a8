"""Families stored by position: bounded, exact under threads and forks, and never in the way."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.processes import clean_environment, parse_samples, run, run_manage, sample

PROGRAM = """
import os, sys, threading
from pathlib import Path
import django
from django.conf import settings
from metrics_commands.directory import use_metrics_directory
if {directory!r}:
    use_metrics_directory({directory!r})
settings.configure(INSTALLED_APPS=["metrics_commands"], SECRET_KEY="x", **{options!r})
django.setup()
from prometheus_client import REGISTRY, generate_latest
from metrics_commands.instrumentation.families import Counter, Gauge, Histogram
from metrics_commands.instrumentation.store import current_store
visits = Counter("visits", "Visits.", ["page"])
seconds = Histogram("seconds", "Seconds.", ["page"], bounds=(1.0, 2.0, float("inf")))
flying = Gauge("flying", "In the air.")
{code}
sys.stdout.write(generate_latest().decode())
"""


def run_program(
    home: Path, code: str, *, directory: Path | None = None, **options: object
) -> tuple[str, str]:
    """Return what a process shows of its registry after some code, and its log."""
    script = PROGRAM.format(directory=str(directory or ""), options=options, code=code)
    done = run([sys.executable, "-W", "error", "-c", script], clean_environment(home))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


COUNT = """
visits.inc("home"); visits.inc("home", amount=2.0)
seconds.observe(0.5, "home"); seconds.observe(2.0, "home"); seconds.observe(9.0, "home")
flying.inc(); flying.inc(amount=-1.0); flying.inc()
"""


@pytest.mark.parametrize("in_files", [True, False])
def test_the_default_registry_sees_all(tmp_path: Path, in_files: bool) -> None:
    """What was counted is in prometheus_client's own registry, in files as in memory."""
    page, _ = run_program(tmp_path, COUNT, directory=tmp_path / "metrics" if in_files else None)
    samples = parse_samples(page)
    assert sample(samples, "visits_total", page="home") == 3
    assert sample(samples, "seconds_count", page="home") == 3
    assert sample(samples, "seconds_sum", page="home") == 11.5
    assert sample(samples, "seconds_bucket", page="home", le="1.0") == 1
    assert sample(samples, "seconds_bucket", page="home", le="2.0") == 2
    assert sample(samples, "seconds_bucket", page="home", le="+Inf") == 3
    assert sample(samples, "flying") == 1


def test_the_exporter_sees_the_same(tmp_path: Path) -> None:
    """The page of the exporter has the same samples as the process itself."""
    inside, _ = run_program(tmp_path, COUNT, directory=tmp_path / "metrics")
    done = run_manage(clean_environment(tmp_path), "runmetrics", "--once")
    outside = parse_samples(done.stdout)
    own = {key: value for key, value in parse_samples(inside).items() if "python" not in key[0]}
    own = {key: value for key, value in own.items() if "process" not in key[0]}
    own.pop(("flying", frozenset()))  # its process has ended
    assert own
    assert {key: outside.get(key) for key in own} == own


def test_label_sets_are_bounded(tmp_path: Path) -> None:
    """Beyond the limit values count as <other>, and the loss is told by family."""
    code = "for page in range(10): visits.inc(str(page)); seconds.observe(1.0, str(page))"
    page, _ = run_program(tmp_path, code, PROMETHEUS_MAX_LABEL_SETS=4)
    samples = parse_samples(page)
    assert sum(value for (name, _), value in samples.items() if name == "visits_total") == 10
    assert sample(samples, "visits_total", page="<other>") == 6
    assert sample(samples, "seconds_count", page="<other>") == 6
    dropped = "django_exporter_label_sets_dropped_total"
    assert sample(samples, dropped, family="visits") == 6
    assert sample(samples, dropped, family="seconds") == 6


FORKS = """
visits.inc("home")
children = []
for number in range(5):
    pid = os.fork()
    if not pid:
        threads = [
            threading.Thread(target=lambda: [visits.inc("home") for _ in range(500)])
            for _ in range(4)
        ]
        for each in threads: each.start()
        for each in threads: each.join()
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_forks_and_threads_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Each fork counts into files of its own, from zero, and threads never overwrite each other."""
    page, _ = run_program(tmp_path, FORKS, directory=tmp_path / "metrics")
    assert sample(parse_samples(page), "visits_total", page="home") == 1
    done = run_manage(clean_environment(tmp_path), "runmetrics", "--once")
    assert sample(parse_samples(done.stdout), "visits_total", page="home") == 1 + 5 * 4 * 500


TWICE = """
from metrics_commands.instrumentation.families import LatestGauge
def declare():
    return Counter("calls", "Calls.", ["page"]), LatestGauge("spent", "Spent.", ["page"])
for number, (calls, spent) in enumerate((declare(), declare()), start=1):
    calls.inc("home"); spent.add(2.0, "home", moment=float(number))
    calls.inc(str(number)); calls.inc("late")
"""


@pytest.mark.parametrize("in_files", [True, False])
def test_a_family_that_is_declared_twice_is_one(tmp_path: Path, in_files: bool) -> None:
    """Threads may declare a family together: nothing is shown twice, lost, or beyond the limit."""
    directory = tmp_path / "metrics" if in_files else None
    pages = [run_program(tmp_path, TWICE, directory=directory, PROMETHEUS_MAX_LABEL_SETS=3)[0]]
    if in_files:
        pages.append(run_manage(clean_environment(tmp_path), "runmetrics", "--once").stdout)
    for page in pages:
        lines = [line.rsplit(" ", 1)[0] for line in page.splitlines()]
        assert [line for line in lines if lines.count(line) > 1] == []
        samples = parse_samples(page)
        assert sample(samples, "spent", page="home") == 4
        counted = {page: sample(samples, "calls_total", page=page) for page in ("home", "late")}
        assert counted == {"home": 2, "late": 2}
        assert sample(samples, "calls_total", page="<other>") == 1


LOCKED = """
taken = threading.Event(); leave = threading.Event()
def hold():
    with current_store().lock:
        taken.set(); leave.wait()
holder = threading.Thread(target=hold); holder.start(); taken.wait()
pid = os.fork()
if not pid:
    visits.inc("home")
    os._exit(0)
leave.set(); holder.join()
assert os.waitpid(pid, 0)[1] == 0
"""


def test_a_fork_while_the_lock_is_held_does_not_hang(tmp_path: Path) -> None:
    """A child of a process whose other thread was just counting counts as well."""
    run_program(tmp_path, LOCKED, directory=tmp_path / "metrics")


REENTERED = """
import signal
signal.signal(signal.SIGALRM, lambda *_: visits.inc("home"))
with current_store().lock:
    signal.raise_signal(signal.SIGALRM)
"""


def test_a_signal_handler_may_count_while_another_count_is_made(tmp_path: Path) -> None:
    """Code that interrupts a count, as a handler or a destructor, does not wait for itself."""
    page, _ = run_program(tmp_path, REENTERED)
    assert sample(parse_samples(page), "visits_total", page="home") == 1


def test_a_wrong_use_is_logged_once_and_never_raised(tmp_path: Path) -> None:
    """Too many label values, as a bug of ours would give, cost numbers and one log line."""
    code = 'for _ in range(3): visits.inc("home", "and more"); seconds.observe(1.0)'
    page, log = run_program(tmp_path, code)
    assert sample(parse_samples(page), "visits_total", page="home") is None
    assert log.count("A number was lost while counting visits") == 1
    assert log.count("A number was lost while counting seconds") == 1


def test_without_a_place_to_write_numbers_stay_in_memory(tmp_path: Path) -> None:
    """Where the directory cannot be used, the process counts on, as if there were none."""
    (tmp_path / "file").write_text("")
    page, log = run_program(tmp_path, COUNT, directory=tmp_path / "file" / "metrics")
    assert sample(parse_samples(page), "visits_total", page="home") == 3
    assert "stay in its memory" in log
    assert os.listdir(tmp_path) == ["file"]
