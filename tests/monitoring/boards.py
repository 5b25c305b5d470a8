"""Read the dashboards as they are installed, and ask what they would ask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.processes import ROOT

FOLDER = ROOT / "metrics_commands" / "monitoring"
NAMES = sorted(path.stem for path in (FOLDER / "dashboards").glob("*.json"))
# Grafana's own, as a dashboard of the last minutes would have them.
BUILT_IN = {"__rate_interval": "20s", "__range": "5m"}
VARIABLE = re.compile(r"\$(?:\{([a-z_]\w*)\}|([a-z_]\w*))", re.IGNORECASE)


def read_board(name: str) -> dict[str, Any]:
    """Return a dashboard."""
    board: dict[str, Any] = json.loads((FOLDER / "dashboards" / f"{name}.json").read_text())
    return board


def list_queries(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each query of each panel, by its row's and its panel's title."""
    row = ""
    for panel in board["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        for target in panel.get("targets", ()):
            yield f"{row} / {panel['title']} / {target['refId']}", target["expr"]


def list_variables(board: Mapping[str, Any]) -> dict[str, str]:
    """Return the query of each variable whose values Prometheus knows, in order."""
    variables = board["templating"]["list"]
    return {each["name"]: each["query"]["query"] for each in variables if each["type"] == "query"}


def find_variables(query: str) -> set[str]:
    """Return the names of the variables that a query uses."""
    return {first or second for first, second in VARIABLE.findall(query)}


def fill(query: str, chosen: Mapping[str, str]) -> str:
    """Return a query with values in place of its variables."""
    values = {**BUILT_IN, **chosen}
    return VARIABLE.sub(lambda match: values[match[1] or match[2]], query)
