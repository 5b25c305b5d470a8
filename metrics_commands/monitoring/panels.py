"""The four kinds of panels that the dashboards have, made with Grafana's own builders."""

# The builders' enumerations are of a class that mypy does not know in Python 3.10.
# mypy: disable-error-code="arg-type"

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, RED = "green", "red"
STAT_HEIGHT, HEIGHT = 4, 8


Panel = stat.Panel | timeseries.Panel | heatmap.Panel | tables.Panel


def stat_panel(
    title: str, expression: str, unit: str = "short", *, says: str, bad: float | None = None
) -> Panel:
    """Show one number; from ``bad`` on it is red."""
    steps = [Threshold(color=GREEN), *([Threshold(bad, RED)] if bad is not None else [])]
    panel = stat.Panel()
    panel.title(title).description(says).datasource(SOURCE).height(STAT_HEIGHT).span(3)
    panel.unit(unit).min(0)
    panel.graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    panel.with_target(_query("A", expression))
    return panel


def graph(
    title: str,
    queries: Mapping[str, str],
    unit: str = "short",
    *,
    says: str,
    stacked: bool = False,
) -> Panel:
    """Show queries over time, by what their legends are to be."""
    panel = timeseries.Panel()
    panel.title(title).description(says).datasource(SOURCE).height(HEIGHT).span(8)
    panel.unit(unit).min(0).fill_opacity(30 if stacked else 8)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["mean", "max", "lastNotNull"])
    )
    panel.tooltip(
        common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for letter, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        panel.with_target(_query(letter, expression).legend_format(legend))
    return panel


def heat_map(title: str, buckets: str, unit: str = "s", *, says: str) -> Panel:
    """Show how the buckets of a histogram fill over time."""
    panel = heatmap.Panel()
    panel.title(title).description(says).datasource(SOURCE).height(HEIGHT).span(8)
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(unit))
    panel.with_target(_query("A", buckets).format(PromQueryFormat.HEATMAP).legend_format("{{le}}"))
    return panel


@dataclass(frozen=True)
class Column:
    """A column of numbers in a table."""

    title: str
    expression: str
    unit: str = "short"


def table(title: str, *columns: Column, says: str) -> Panel:
    """Show what queries return now, in one row for each set of labels that they share."""
    panel = tables.Panel()
    panel.title(title).description(says).datasource(SOURCE).height(HEIGHT).span(24)
    for letter, column in zip(ascii_uppercase, columns, strict=False):
        query = _query(letter, column.expression)
        panel.with_target(query.instant().format(PromQueryFormat.TABLE))
        field = f"Value #{letter}" if len(columns) > 1 else "Value"
        shown = {"displayName": column.title, "unit": column.unit}
        panel.override_by_name(field, [DynamicConfigValue(*each) for each in shown.items()])
    panel.sort_by([common.TableSortByFieldState().display_name(columns[0].title).desc(True)])
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}})
    )
    return panel


def _query(letter: str, expression: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery()
    query.expr(expression).ref_id(letter).datasource(SOURCE)
    return query
