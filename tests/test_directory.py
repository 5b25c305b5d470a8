"""use_metrics_directory(), in processes of its own: it decides once, for a whole process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import clean_environment, parse_samples, run, run_manage, sample

BEGINNING = """
import json, os, sys
from metrics_commands.directory import decision, use_metrics_directory
"""
# A metric is made and counted as an app would do it; then the process tells what it knows.
END = """
from prometheus_client import Counter
counter = Counter("things", "Things.")
counter.inc(2)
print(json.dumps({
    "requested": str(decision.requested), "path": str(decision.path),
    "problem": decision.problem, "others": [str(each) for each in decision.others],
    "early": decision.early_metrics, "variable": os.environ.get("PROMETHEUS_MULTIPROC_DIR"),
    "counted": counter._value.get(),
}))
"""


def ask(home: Path, code: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run a process that uses the directory as written, and return what it knows afterwards."""
    program = [sys.executable, "-c", BEGINNING + code + END, *arguments]
    answer = run(program, clean_environment(home, **environment))
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    known: dict[str, Any] = json.loads(answer.stdout)
    return known | {"log": answer.stderr.splitlines()}


def use(path: object) -> str:
    """Write the line as it stands in a settings module."""
    return f"use_metrics_directory({path!r})\n"


def value_files(directory: Path) -> list[str]:
    """Return the names of the value files of a directory, which may be missing."""
    return sorted(path.name for path in directory.glob("*.db"))


def read_things(home: Path, directory: Path) -> float | None:
    """Return what the exporter reads of the metric that ``ask`` counts."""
    answer = run_manage(
        clean_environment(home), "runmetrics", "--once", "--metrics-dir", str(directory)
    )
    assert answer.returncode == 0, answer.stderr
    return sample(parse_samples(answer.stdout), "things_total")


@pytest.mark.parametrize("module", ["metrics_commands", "metrics_commands.directory"])
def test_importing_never_imports_prometheus_client(tmp_path: Path, module: str) -> None:
    """Importing the app before the line cannot choose the wrong kind of value."""
    code = f"import sys, {module}; print(any('prometheus' in name for name in sys.modules))"
    answer = run([sys.executable, "-c", code], clean_environment(tmp_path))
    assert (answer.stdout, answer.stderr) == ("False\n", "")


def test_a_process_writes_into_the_directory(tmp_path: Path) -> None:
    """One line, and a counter of any app is in the next scrape."""
    directory = tmp_path / "var" / "metrics"
    known = ask(tmp_path, use(str(directory)))
    assert (known["path"], known["variable"]) == (str(directory), str(directory))
    assert known["problem"] == ""
    assert known["log"] == []
    assert directory.stat().st_mode & 0o777 == 0o700
    assert len(value_files(directory)) == 1
    assert read_things(tmp_path, directory) == 2.0


def test_calling_it_again_changes_nothing(tmp_path: Path) -> None:
    """Settings that are imported twice count once, also in a child after a fork."""
    directory = tmp_path / "metrics"
    line = use(str(directory))
    fork = f"""
from prometheus_client import Counter
shared = Counter("shared", "Counted on both sides.")
shared.inc()
child = os.fork()
{line}
shared.inc()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert ask(tmp_path, line + line + fork)["others"] == []
    environment = clean_environment(tmp_path)
    answer = run_manage(environment, "runmetrics", "--once", "--metrics-dir", str(directory))
    assert sample(parse_samples(answer.stdout), "shared_total") == 3.0


def test_a_forked_worker_has_its_own_identity(tmp_path: Path) -> None:
    """Workers that share one parent never write into each other's files."""
    fork = """
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    ask_both = use(str(tmp_path / "metrics")) + fork + END.replace("print(json.dumps", "(dict")
    answer = run([sys.executable, "-c", BEGINNING + ask_both], clean_environment(tmp_path))
    assert answer.returncode == 0, answer.stderr
    names = value_files(tmp_path / "metrics")
    assert len({name.partition("_")[2] for name in names}) == 2
    assert all(name.count("_") == 1 for name in names)


def test_a_second_path_is_remembered_and_not_used(tmp_path: Path) -> None:
    """The first path stays, so that all metrics of a process are in one place."""
    first, second = tmp_path / "first", tmp_path / "second"
    known = ask(tmp_path, use(str(first)) + use(str(second)) + use(str(second)))
    assert (known["path"], known["others"]) == (str(first), [str(second)])
    assert not second.exists()


def test_the_environment_overrules_the_line(tmp_path: Path) -> None:
    """Whoever deploys decides where the directory is; it is created there."""
    written, chosen = tmp_path / "written", tmp_path / "deep" / "chosen"
    known = ask(tmp_path, use(str(written)), PROMETHEUS_MULTIPROC_DIR=str(chosen))
    assert known["path"] == known["variable"] == str(chosen)
    assert not written.exists()
    assert len(value_files(chosen)) == 1


def test_an_early_import_is_harmless_and_early_metrics_are_named(tmp_path: Path) -> None:
    """Only metrics that were made too early are lost, and each is known by its name."""
    early = """
from prometheus_client import Counter, Histogram
Counter("early", "Too early.", ["kind"])
Histogram("earlier", "Too early as well.")
"""
    directory = tmp_path / "metrics"
    known = ask(tmp_path, early + use(str(directory)))
    assert sorted(known["early"]) == ["earlier", "early"]
    assert read_things(tmp_path, directory) == 2.0


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        (None, ""),
        (None, "/dev/null/elsewhere"),
        (b"metrics", ""),
        ("metrics\0", ""),
        ("\ud800", ""),
        ("/dev/null/metrics", ""),
        ("metrics", "/dev/null/elsewhere"),
    ],
)
def test_it_never_raises(tmp_path: Path, path: object, variable: str) -> None:
    """Whatever path is given, metrics are counted in memory and the log says so in one line."""
    known = ask(tmp_path, use(path), PROMETHEUS_MULTIPROC_DIR=variable)
    assert known["counted"] == 2.0
    assert known["problem"]
    assert len(known["log"]) == 1
    assert "stay in its memory" in known["log"][0]


@pytest.mark.parametrize(
    "arguments",
    [
        "manage.py runmetrics --once",
        "manage.py checkports",
        "manage.py test shop",
        "/usr/bin/django-admin test",
    ],
)
def test_some_commands_keep_their_values_in_memory(tmp_path: Path, arguments: str) -> None:
    """Exporter, checker and tests write nothing, so live numbers stay clean."""
    chosen = f"sys.argv = {arguments.split()!r}\n"
    directory = tmp_path / "metrics"
    known = ask(tmp_path, chosen + use(str(directory)))
    assert (known["counted"], known["variable"]) == (2.0, str(directory))
    assert not directory.exists()


@pytest.mark.parametrize(
    "arguments", ["manage.py shell", "manage.py migrate test", "gunicorn test", "manage.py"]
)
def test_other_commands_write_into_files(tmp_path: Path, arguments: str) -> None:
    """Only the word in the command's place counts, not the same word elsewhere."""
    chosen = f"sys.argv = {arguments.split()!r}\n"
    ask(tmp_path, chosen + use(str(tmp_path / "metrics")))
    assert len(value_files(tmp_path / "metrics")) == 1


def test_a_pytest_session_keeps_its_values_in_memory(tmp_path: Path) -> None:
    """Tests of an application count nothing into live numbers, however pytest was started."""
    test = tmp_path / "test_shop.py"
    directory = tmp_path / "metrics"
    test.write_text(f"{BEGINNING}{use(str(directory))}{END}\ndef test_nothing() -> None: ...\n")
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull, str(test)]
    answer = run([sys.executable, "-m", "pytest", *options], clean_environment(tmp_path))
    assert answer.returncode == 0, answer.stdout
    assert not directory.exists()


def test_a_server_that_a_test_starts_writes_into_files(tmp_path: Path) -> None:
    """A deployment under test behaves like a real one, although it inherits pytest's variables."""
    environment = {name: os.environ[name] for name in os.environ if name.startswith("PYTEST")}
    ask(tmp_path, use(str(tmp_path / "metrics")), **environment)
    assert len(value_files(tmp_path / "metrics")) == 1


@pytest.mark.parametrize("command", [["check"], ["shell", "-c", "print('alive')"], ["migrate"]])
def test_commands_work_with_an_unusable_directory(tmp_path: Path, command: list[str]) -> None:
    """A wrong directory costs the metrics and nothing else."""
    (tmp_path / "metrics").write_text("no directory")
    answer = run_manage(clean_environment(tmp_path), *command)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert (tmp_path / "metrics").read_text() == "no directory"
