"""The rules that are installed, as promtool judges them: each alert comes, and is silent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import find_program
from tests.monitoring.boards import FOLDER
from tests.monitoring.cases import CASES, Case
from tests.processes import ROOT, run

yaml = pytest.importorskip("yaml")

FILES = [FOLDER / "rules" / f"{name}.yml" for name in ("objectives", "recording", "alerts")]
RULES: list[dict[str, Any]] = [
    rule
    for path in FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RUNBOOKS = (ROOT / "docs" / "alerts.md").read_text()


@pytest.fixture
def promtool() -> str:
    """Return the program."""
    return find_program("promtool", "prometheus")


def test_promtool_accepts_the_rules(promtool: str) -> None:
    """Prometheus starts with them."""
    done = run([promtool, "check", "rules", "--lint=all", "--lint-fatal", *FILES], {})
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=str)
def test_alert(case: Case, promtool: str, tmp_path: Path) -> None:
    """It comes when it should, and says what is wrong; or does not come."""
    test = {
        "interval": "1m",
        "input_series": [
            {"series": series, "values": values} for series, values in case.series.items()
        ],
        "alert_rule_test": [
            {
                "alertname": case.alert,
                "eval_time": case.at,
                "exp_alerts": [expect(case)] if case.labels is not None else [],
            }
        ],
    }
    names = [f"django-{path.stem}" for path in FILES]
    content = {
        "rule_files": [str(path) for path in FILES],
        "evaluation_interval": "1m",
        "group_eval_order": names,
        "tests": [test],
    }
    (tmp_path / "test.yml").write_text(json.dumps(content))
    done = run([promtool, "test", "rules", tmp_path / "test.yml"], {})
    assert done.returncode == 0, done.stdout + done.stderr


def expect(case: Case) -> Mapping[str, Any]:
    """Return the alert that a case is to raise."""
    rule = ALERTS[case.alert]
    said = {name: rule["annotations"][name] for name in ("summary", "runbook_url")}
    return {
        "exp_labels": {**rule["labels"], **(case.labels or {})},
        "exp_annotations": {**said, "description": case.says},
    }


@pytest.mark.parametrize("fires", [True, False], ids=["firing", "silent"])
def test_every_alert_has_both_cases(fires: bool) -> None:
    """None is forgotten above."""
    assert {case.alert for case in CASES if (case.labels is not None) == fires} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_leads_to_its_runbook(name: str) -> None:
    """Its link ends at a heading of docs/alerts.md, and its severity is one that is explained."""
    rule = ALERTS[name]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page.endswith("/docs/alerts.md")
    assert anchor in {each.lower() for each in re.findall(r"^### (\w+)$", RUNBOOKS, re.MULTILINE)}
    assert f"`{rule['labels']['severity']}`" in RUNBOOKS


def test_every_runbook_has_its_alert() -> None:
    """No section is about an alert that there is not."""
    assert set(re.findall(r"^### (\w+)$", RUNBOOKS, re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("name", [each["record"] for each in RULES if "record" in each])
def test_recorded_names_tell_level_metric_and_operation(name: str) -> None:
    """They cannot be taken for the name of a metric, and are in the runbooks if they are yours."""
    level, metric, operation = name.split(":")
    assert all((level, metric, operation))
    assert operation != "objective" or f"`{name}`" in RUNBOOKS
