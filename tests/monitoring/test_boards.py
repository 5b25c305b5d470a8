"""The dashboards that are installed are those of the code, and Grafana can show them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.monitoring.boards import (
    BUILT_IN,
    FOLDER,
    NAMES,
    find_variables,
    list_queries,
    list_variables,
    read_board,
)

WIDTH = 24


@pytest.mark.skipif(find_spec("grafana_foundation_sdk") is None, reason="needs Grafana's builders")
def test_files_are_those_of_the_code() -> None:
    """Whoever changes the code has written the files anew, and nobody has edited them."""
    from metrics_commands.monitoring.files import list_files

    written = {
        str(path.relative_to(FOLDER)): path.read_text()
        for folder in ("dashboards", "rules")
        for path in Path(FOLDER / folder).iterdir()
    }
    assert written == dict(list_files())


def test_all_five_are_there() -> None:
    """Each has a name in Grafana that no other has, by which the others link to it."""
    boards = [read_board(name) for name in NAMES]
    assert len(boards) == 5
    assert len({board["uid"] for board in boards}) == 5
    assert len({board["title"] for board in boards}) == 5
    for board in boards:
        assert set(board["links"][0]["tags"]) <= set(board["tags"])
        assert len(board["uid"]) <= 40


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_used_is_there(name: str) -> None:
    """Nothing stands in a query that Grafana would leave as it is."""
    board = read_board(name)
    known = set(BUILT_IN)
    for variable, query in list_variables(board).items():
        assert find_variables(query) <= known
        known.add(variable)
    used = {found for _, query in list_queries(board) for found in find_variables(query)}
    assert used <= known
    assert known - set(BUILT_IN) <= used | {"job", "instance"}


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_their_own_place_and_number(name: str) -> None:
    """None covers another, and a link to one stays a link to that one."""
    panels = read_board(name)["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < WIDTH
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", NAMES)
def test_panels_explain_themselves(name: str) -> None:
    """Each has a sentence, and asks the data source that the user has chosen."""
    for panel in read_board(name)["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith(".")
        sources = [panel["datasource"], *(each["datasource"] for each in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
        legends = [each.get("legendFormat", "") for each in panel["targets"]]
        for target, legend in zip(panel["targets"], legends, strict=True):
            assert all(label in target["expr"] for label in re.findall(r"{{(\w+)}}", legend))
        assert panel["type"] != "timeseries" or all(legends)
