"""A dashboard: its variables, and rows of panels."""

# The builders' enumerations are of a class that mypy does not know in Python 3.10.
# mypy: disable-error-code="arg-type"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from .panels import SOURCE, Panel
from .queries import select

TAG = "django-runmetrics"


@dataclass(frozen=True)
class Variable:
    """What a user chooses of, one or several or all: the values of a label."""

    name: str
    title: str
    series: str
    label: str


@dataclass(frozen=True)
class Row:
    """Panels below a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """A dashboard; ``name`` is that of its file, and with the tag its identity in Grafana."""

    name: str
    title: str
    says: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()


EVERYWHERE = (
    Variable("job", "Job", "django_exporter_build_info", "job"),
    Variable("instance", "Instance", 'django_exporter_build_info{job=~"$job"}', "instance"),
)


def variable(name: str, title: str, metric: str, label: str, *matchers: str) -> Variable:
    """Return a variable with the values that a label of a metric has here."""
    return Variable(name, title, select(metric, *matchers), label)


def render_board(board: Board) -> str:
    """Return a dashboard as Grafana imports it."""
    builder = dashboard.Dashboard(f"Django / {board.title}")
    builder.uid(f"{TAG}-{board.name}").description(board.says).tags(["django", TAG])
    builder.time("now-3h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR)
    builder.link(_link_others())
    builder.with_variable(
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )
    for each in (*EVERYWHERE, *board.variables):
        builder.with_variable(_build_variable(each))
    identity = 0
    for row in board.rows:
        identity += 1
        builder.with_row(dashboard.Row(row.title).id(identity))
        for panel in row.panels:
            identity += 1
            # Links to one panel hold as long as its number does.
            builder.with_panel(panel.id(identity))
    return f"{JSONEncoder(indent=2, sort_keys=True).encode(builder.build())}\n"


def _build_variable(chosen: Variable) -> dashboard.QueryVariable:
    definition = f"label_values({chosen.series}, {chosen.label})"
    builder = dashboard.QueryVariable(chosen.name)
    builder.label(chosen.title).datasource(SOURCE)
    # As Grafana's own editor writes it: 1 is a query for the values of a label.
    builder.query({"qryType": 1, "query": definition, "refId": "PrometheusVariableQueryEditor"})
    builder.multi(True).include_all(True).all_value(".*")
    builder.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    builder.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    builder.sort(VariableSort.ALPHABETICAL_ASC)
    return builder


def _link_others() -> dashboard.DashboardLink:
    builder = dashboard.DashboardLink("Django")
    builder.type(DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(True)
    builder.include_vars(True).keep_time(True)
    return builder
