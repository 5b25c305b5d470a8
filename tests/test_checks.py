"""The system checks: one warning for each thing that is wrong, and never more than warnings."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core import checks
from django.core.checks.registry import registry
from django.test import override_settings

from metrics_commands import conf
from metrics_commands.setting import Setting
from tests.processes import ROOT, clean_environment, run

SETTINGS = """
SECRET_KEY = "only for this test"
INSTALLED_APPS = ["metrics_commands"]
from metrics_commands.directory import use_metrics_directory
"""
USE = "use_metrics_directory({!r})\n"


class Unprintable:
    """A value whose repr() fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


WRONG_FOR_EVERY_SETTING: tuple[object, ...] = (
    object(), Unprintable(), 10**5000, -1.5, math.nan, b"x", {"a": 1}, [[]], [None],
    lambda: 1, "\0", "\n,\0" * 1000, range(-5, -1),
)  # fmt: skip


def check(tmp_path: Path, written: str, **environment: str) -> list[str]:
    """Return the ids that 'manage.py check' shows in a project with these settings."""
    (tmp_path / "deployment.py").write_text(SETTINGS + written)
    surroundings = clean_environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="deployment",
        PYTHONPATH=str(tmp_path),
        PYTHONDONTWRITEBYTECODE="1",
        **environment,
    )
    answer = run([sys.executable, "-m", "django", "check", "--tag", "metrics"], surroundings)
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    return re.findall(r"metrics_commands\.(W\d{3})", answer.stderr)


def make_doubtful(directory: Path) -> None:
    """Make a directory that is usable but not safe."""
    directory.mkdir()
    directory.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(directory, 12345, 12345)


def test_checks_are_registered_under_the_tag() -> None:
    """'manage.py check --tag metrics' runs them, and every other command does as well."""
    assert "metrics" in registry.tags_available()
    with override_settings(PROMETHEUS_METRICS_EXPORT_PORT="80a"):
        found = [each.id for each in checks.run_checks()]
    assert "metrics_commands.W001" in found


def test_the_shipped_project_is_clean() -> None:
    """Whoever changes nothing is warned of nothing."""
    assert checks.run_checks(tags=["metrics"]) == []


def test_one_line_makes_a_project_clean(tmp_path: Path) -> None:
    """The line that the hint names, and nothing else, is needed."""
    assert check(tmp_path, USE.format(str(tmp_path / "metrics"))) == []


def test_w001_a_wrong_value(tmp_path: Path) -> None:
    """A wrong value in settings.py or in the environment is one warning each."""
    written = USE.format(str(tmp_path / "metrics")) + "PROMETHEUS_METRICS_EXPORT_PORT = 70000\n"
    assert check(tmp_path, written, PROMETHEUS_METRICS_PORT_WAIT="soon") == ["W001", "W001"]


def test_w002_port_and_range() -> None:
    """Two settings that contradict each other are named, and which one is used."""
    with override_settings(PROMETHEUS_METRICS_EXPORT_PORT=8001):
        (found,) = checks.run_checks(tags=["metrics"])
    assert found.id == "metrics_commands.W002"
    assert "the range is used" in found.msg


def test_w003_no_directory(tmp_path: Path) -> None:
    """A project that does not call use_metrics_directory() is told so."""
    assert check(tmp_path, "") == ["W003"]


@pytest.mark.parametrize("path", ["/dev/null/metrics", None, "/metrics\0", ""])
def test_w004_an_unusable_directory(tmp_path: Path, path: str | None) -> None:
    """A directory that cannot be made, or is none at all, is one warning and no more."""
    assert check(tmp_path, USE.format(path)) == ["W004"]


def test_w004_says_what_was_written(tmp_path: Path) -> None:
    """A line without a path has a sentence that fits it, in the log and in the check."""
    (tmp_path / "deployment.py").write_text(SETTINGS + USE.format(""))
    surroundings = clean_environment(
        tmp_path, DJANGO_SETTINGS_MODULE="deployment", PYTHONPATH=str(tmp_path)
    )
    said = run([sys.executable, "-m", "django", "check"], surroundings).stderr
    assert "Metrics directory '' cannot be used: the path is empty.\n" in said
    assert "cannot see them: directory '': the path is empty.\n" in said


def test_w005_a_doubtful_directory(tmp_path: Path) -> None:
    """A directory whose numbers others may change is used with a warning for each doubt."""
    make_doubtful(tmp_path / "metrics")
    found = check(tmp_path, USE.format(str(tmp_path / "metrics")))
    assert set(found) == {"W005"}
    assert len(found) == (2 if os.geteuid() == 0 else 1)


def test_w006_a_second_directory(tmp_path: Path) -> None:
    """A second, different path is named; the same path again is nothing to report."""
    first, second = (USE.format(str(tmp_path / name)) for name in ("one", "two"))
    assert check(tmp_path, first + second + first + second) == ["W006"]
    assert not (tmp_path / "two").exists()


def test_w007_metrics_made_too_early(tmp_path: Path) -> None:
    """A metric that was made before the line, and would be lost in silence, is reported."""
    early = 'from prometheus_client import Counter\nCounter("early", "Too early.")\n'
    assert check(tmp_path, early + USE.format(str(tmp_path / "metrics"))) == ["W007"]


def test_w008_a_directory_that_only_the_exporter_knows(tmp_path: Path) -> None:
    """A directory given as a setting, which no worker heeds, is reported."""
    with override_settings(PROMETHEUS_MULTIPROC_DIR=tmp_path):
        (found,) = checks.run_checks(tags=["metrics"])
    assert found.id == "metrics_commands.W008"
    assert str(tmp_path) in str(found.hint)


NAMES = ("COLLECTORS", "COUNTED_MODELS", "EXCLUDE_VIEWS")


@pytest.mark.parametrize("command", ["check", "checkports"])
@pytest.mark.parametrize(
    ("line", "variable", "told"),
    [
        ("var/metrics", "", "settings.py: use_metrics_directory(BASE_DIR / 'var/metrics')"),
        ("/absolute", "var/metrics", "environment: PROMETHEUS_MULTIPROC_DIR={}/var/metrics"),
        ("", "var/metrics", "environment: PROMETHEUS_MULTIPROC_DIR={}/var/metrics"),
        ("var/metrics", "{}/metrics", ""),
        ("{}/metrics", "", ""),
    ],
)
def test_w045_a_relative_path(
    tmp_path: Path, command: str, line: str, variable: str, told: str
) -> None:
    """A path that each process completes by itself is told; one that is overruled does no harm."""
    place = str(tmp_path)
    use = USE.format(line.format(place)) if line else ""
    (tmp_path / "deployment.py").write_text(SETTINGS + use)
    surroundings = clean_environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="deployment",
        PYTHONPATH=os.pathsep.join([place, str(ROOT)]),
        PROMETHEUS_MULTIPROC_DIR=variable.format(place),
    )
    # As manage.py does it: that is how an exporter or a checker is known.
    program = (
        "import sys; from django.core.management import execute_from_command_line;"
        f" sys.argv = ['manage.py', {command!r}]; execute_from_command_line(sys.argv)"
    )
    answer = run([sys.executable, "-c", program], surroundings, cwd=tmp_path)
    said = answer.stdout + answer.stderr
    assert "Traceback" not in said
    assert ("W045" in said) == bool(told)
    if told:
        assert "metrics directory, 'var/metrics', is relative: processes" in said
        assert "stay in its memory" not in said
        assert told.format(tmp_path) in said


@pytest.mark.parametrize("setting", conf.SETTINGS, ids=lambda each: each.name)
def test_wrong_settings_are_warnings_and_never_raise(setting: Setting[object]) -> None:
    """No value of any setting stops migrate or runserver; each is named with its place."""
    for value in WRONG_FOR_EVERY_SETTING:
        with override_settings(**{setting.name: value}):
            found = checks.run_checks(tags=["metrics"])
        assert {each.level for each in found} <= {checks.WARNING}
        wrong = [each for each in found if each.id == "metrics_commands.W001"]
        if isinstance(value, str) and setting.name.endswith(NAMES):
            continue  # any text is a name; whether there is such a thing, the commands know
        assert len(wrong) == 1, value if not isinstance(value, Unprintable) else type(value)
        assert wrong[0].msg.startswith(f"setting {setting.name} is ")
        assert wrong[0].msg.isprintable()
        assert len(wrong[0].msg) < 400


@pytest.mark.parametrize(
    "name", [setting.name for setting in conf.SETTINGS if setting.in_environment]
)
def test_a_wrong_variable_is_a_warning(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A wrong environment variable is reported by its name, and no command stops."""
    wrong = " " if name == "PROMETHEUS_MULTIPROC_DIR" else "\N{SNOWMAN}-\x1b"
    monkeypatch.setenv(name, wrong)
    found = checks.run_checks(tags=["metrics"])
    expected = [] if name.endswith(NAMES) else ["metrics_commands.W001"]
    assert [each.id for each in found] == expected
    assert all(each.msg.startswith(f"environment variable {name} is ") for each in found)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"PORT": 1023}, {"W010": checks.WARNING}),
        ({"PORT": 6000}, {"W011": checks.WARNING}),
        ({"PORT": 9100}, {"W012": checks.INFO}),
        ({"PORT": 25}, {"W010": checks.WARNING, "W011": checks.WARNING}),
        ({"PORT_RANGE": range(8000, 8003)}, {"W012": checks.INFO}),
        ({"PORT": 0}, {}),
        ({"PORT": "25a"}, {"W001": checks.WARNING}),
    ],
)
def test_w010_to_w012_ports_that_give_trouble(
    written: dict[str, object], expected: dict[str, int]
) -> None:
    """Each is told with a line for settings.py that ends it, and no command stops."""
    given = {f"PROMETHEUS_METRICS_EXPORT_{name}": value for name, value in written.items()}
    with override_settings(**{"PROMETHEUS_METRICS_EXPORT_PORT_RANGE": None, **given}):
        found = checks.run_checks(tags=["metrics"])
        hints = {str(each.hint) for each in found if each.id != "metrics_commands.W001"}
    assert {str(each.id)[-4:]: each.level for each in found} == expected
    for hint in hints:
        change = re.search(r"^settings.py: (PROMETHEUS_\w+) = (.+)$", hint, re.MULTILINE)
        assert change
        with override_settings(
            **{"PROMETHEUS_METRICS_EXPORT_PORT_RANGE": None, change[1]: eval(change[2])}
        ):
            assert checks.run_checks(tags=["metrics"]) == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", ["W013"]),
        (["::1", "localhost"], ["W013"]),
        ("", []),
        (["127.0.0.1", "db"], []),
    ],
)
def test_w013_loopback_in_a_pod(
    monkeypatch: pytest.MonkeyPatch, address: object, expected: list[str]
) -> None:
    """In Kubernetes, and only there, an exporter that nobody reaches is told."""
    with override_settings(PROMETHEUS_METRICS_EXPORT_ADDRESS=address):
        assert checks.run_checks(tags=["metrics"]) == []
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        found = checks.run_checks(tags=["metrics"])
        assert [str(each.id)[-4:] for each in found] == expected
        monkeypatch.setenv("PROMETHEUS_METRICS_EXPORT_ADDRESS", "0.0.0.0")
        assert checks.run_checks(tags=["metrics"]) == []


def test_w027_django_prometheus_beside_us() -> None:
    """Two apps that count the same requests under the same names are told."""
    with override_settings():
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_prometheus"]
        found, ports = checks.run_checks(tags=["metrics"])
        assert (found.id, ports.id) == ("metrics_commands.W027", "metrics_commands.W036")
        assert "INSTALLED_APPS" in str(found.hint)


def test_checks_read_no_file_and_look_up_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run before every command, so they ask neither the disk nor the network."""
    events: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        asks = watching and event in ("open", "socket.getaddrinfo", "socket.bind")
        # /proc is no disk: the system's own range of ports stands there.
        if asks and not str(arguments[0]).startswith("/proc/sys/"):
            events.append(f"{event} {arguments[0]}")

    sys.addaudithook(watch)
    try:
        with override_settings(
            PROMETHEUS_METRICS_EXPORT_ADDRESS="nowhere.invalid",
            PROMETHEUS_METRICS_EXPORT_PORT_RANGE=range(8000, 8100),
        ):
            found = checks.run_checks(tags=["metrics"])
    finally:
        watching = False
    assert [str(each.id)[-4:] for each in found] == ["W012"]
    assert events == []
