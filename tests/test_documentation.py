"""What the code offers is documented, and what is documented exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import pytest
from django.core.management import load_command_class

from metrics_commands import conf
from metrics_commands.collectors.registry import BUILT_IN
from metrics_commands.exporter_settings import EXPORTER_SETTINGS
from metrics_commands.finding import SEVERITIES
from metrics_commands.setting import Setting
from metrics_commands.worker_settings import WORKER_SETTINGS
from tests.families import PAGE, Row, list_families, write_table
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()
PORTS = (ROOT / "docs" / "ports.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("setting", conf.SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_a_row(setting: Setting[object]) -> None:
    """A table of the README has each setting with its option, or says that there is none."""
    row = re.search(rf"^\| `{setting.name}` \|(.*?)\|", README, re.MULTILINE)
    assert row
    nothing_else = "" if setting.in_environment else "`settings.py` only"
    assert row[1].strip() == (f"`{setting.option}`" if setting.option else nothing_else)


@pytest.mark.parametrize(
    ("title", "settings"),
    [("exporter", EXPORTER_SETTINGS), ("workers", WORKER_SETTINGS)],
    ids=["exporter", "workers"],
)
def test_settings_are_in_the_table_of_who_reads_them(
    title: str, settings: tuple[Setting[object], ...]
) -> None:
    """The README has one table for the exporter and one for the workers."""
    table = README.split(f"\nSettings of the {title}:\n\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [each.name for each in settings]


def test_every_documented_setting_exists() -> None:
    """The README names no setting that is not there."""
    named = set(re.findall(r"`(PROMETHEUS_[A-Z_]+)`", README))
    assert named == {setting.name for setting in conf.SETTINGS}


@pytest.mark.parametrize("command", ["runmetrics", "checkports"])
def test_every_option_is_in_the_readme(command: str) -> None:
    """Each option of our own is named, and its help says something."""
    parser = load_command_class("metrics_commands", command).create_parser("manage.py", command)
    common = load_command_class("django.core", "check").create_parser("manage.py", "check")
    foreign = {option for action in common._actions for option in action.option_strings}
    for action in parser._actions:
        for option in set(action.option_strings) - foreign - {"--skip-checks"}:
            assert f"{option}`" in README or f"{option} " in README, option
            assert action.help


def test_every_collector_is_in_the_readme() -> None:
    """The table of collectors is complete."""
    assert [name for name in BUILT_IN if f"`{name}`" not in README] == []


def read_rows(text: str) -> list[Row]:
    """Return the rows of all tables of families."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    return [
        Row(name, kind, tuple(sorted(re.findall(r"[^\s,]+", cell)))) for name, kind, cell in rows
    ]


def test_every_family_is_documented_and_none_else() -> None:
    """docs/metrics.md has one row for each family, with its type and labels."""
    assert sorted(read_rows(METRICS)) == list(list_families())


def test_the_table_of_every_family_is_what_the_code_says() -> None:
    """docs/families.md is as ``make families`` writes it."""
    assert PAGE.read_text() == write_table(list_families())


@pytest.mark.parametrize("text", [README, METRICS, CHANGELOG], ids=["README", "metrics", "changes"])
def test_links_and_paths_exist(text: str) -> None:
    """Files that the documents link to are there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("find", [re.compile(r"`make (\w+)`").findall], ids=["make"])
def test_every_named_make_target_exists(find: Callable[[str], list[str]]) -> None:
    """The Makefile has each target that the README names."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(find(README)) <= set(targets)


def list_made_findings() -> dict[str, set[str]]:
    """Return each id that the code gives a finding, with the severities it has there."""
    made: dict[str, set[str]] = {}
    for path in (ROOT / "metrics_commands").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            number = node.args[0]
            if (
                isinstance(number, ast.Call)
                and isinstance(number.func, ast.Name)
                and number.func.id == "make_id"
                and isinstance(number.args[0], ast.Constant)
            ):
                words = [
                    each.value for each in ast.walk(node.args[1]) if isinstance(each, ast.Constant)
                ]
                severities = {str(each) for each in words if each in SEVERITIES}
                made.setdefault(f"W{int(str(number.args[0].value)):03}", set()).update(severities)
    return made


def test_every_finding_is_documented_and_none_else() -> None:
    """docs/ports.md has one row for each id, with the severities that it may have."""
    rows = re.findall(r"^\| `(W\d{3})` \| ([a-z, ]+) \|", PORTS, re.MULTILINE)
    documented = {name: set(severities.split(", ")) for name, severities in rows}
    assert len(documented) == len(rows)
    assert documented == list_made_findings()
