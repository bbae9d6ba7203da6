"""The curves of a run, each with its words and its table (narrator.ui.charts draws)."""

from __future__ import annotations

import dataclasses
from html import escape

from narrator.ui.charts import Curve, curve, heading, number, ticks
from trainer.tab.series import Series, thin

ROWS = 20  # of a table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn. name: for ids; title: what the values are; marks: a dot on each point, for few ones."""

    name: str
    title: str
    series: Series
    total: int  # steps of the whole run, 0 while unknown: how wide the axis is
    lower_is_better: bool
    marks: bool = False
    empty: str = "Nothing to draw yet."


def drawing(chart: Chart) -> str:
    """The figure: heading, curve, axes, and the same in a sentence."""
    points = chart.series.points()
    if not points:
        empty = f'<p class="quiet">{escape(chart.empty)}</p>'
        return f'<figure class="chart">{heading(chart.name, chart.title)}{empty}</figure>'
    right = max(float(chart.total), points[-1][0], 1.0)
    return curve(Curve(
        name=chart.name, title=chart.title, points=points, xs=[f"{round(right * part / 4):,}" for part in range(5)],
        right=right, ys=ticks(min(y for _, y in points), max(y for _, y in points)), axis="step", words=words(chart),
        dots=range(len(points)) if chart.marks else [-1]))


def words(chart: Chart) -> str:
    """The curve in a sentence: where it began, where it is, its best."""
    points, newest = chart.series.points(), chart.series.newest
    best = chart.series.lowest if chart.lower_is_better else chart.series.highest
    if not points or newest is None or best is None:
        return chart.empty
    if len(points) == 1:
        return f"{number(newest[1])} at step {newest[0]:,}."
    first = f"{number(points[0][1])} at step {round(points[0][0]):,}, {number(newest[1])} at step {newest[0]:,}"
    kind = "lowest" if chart.lower_is_better else "highest"
    return f"{first}; {kind} {number(best[1])} at step {best[0]:,}."


def table(chart: Chart) -> str:
    """The curve as a table of a few rows, evenly spaced."""
    rows = "".join(f"<tr><td>{round(x):,}</td><td>{number(y)}</td></tr>" for x, y in thin(chart.series.points(), ROWS))
    if not rows:
        return ""
    head = '<thead><tr><th scope="col">Step</th><th scope="col">Value</th></tr></thead>'
    return (f'<table class="scores figures"><caption>{escape(chart.title)}</caption>{head}<tbody>{rows}</tbody>'
            "</table>")
