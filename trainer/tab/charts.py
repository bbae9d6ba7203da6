"""Curves as inline SVG that works in light, in dark and on a phone, each with its words and its table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape

from trainer.tab.series import Series, thin

WIDE, HIGH = 1000, 400  # of the drawing's own coordinates; it is stretched to its place, its strokes are not
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
    head = f'<h3 id="{chart.name}-title">{escape(chart.title)}</h3>'
    if not points:
        return f'<figure class="chart">{head}<p class="quiet">{escape(chart.empty)}</p></figure>'
    ys = ticks(min(y for _, y in points), max(y for _, y in points))
    right = max(float(chart.total), points[-1][0], 1.0)
    left_labels = "".join(f"<span>{number(value)}</span>" for value in reversed(ys))
    xs = "".join(f"<span>{round(right * part / 4):,}</span>" for part in range(5))
    return (f'<figure class="chart">{head}<div class="plot"><div class="ys" aria-hidden="true">{left_labels}</div>'
            f'{_svg(chart, points, (ys[0], ys[-1]), right, len(ys))}'
            f'<div class="xs" aria-hidden="true">{xs}</div><div class="axis" aria-hidden="true">step</div></div>'
            f'<figcaption id="{chart.name}-words">{escape(words(chart))}</figcaption></figure>')


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


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers (1, 2, 2.5 or 5 times a power of ten apart), the first at or below `low`, the last at
    or above `high`."""
    if high <= low:
        spread = abs(low) / 2 or 0.5
        low, high = low - spread, high + spread
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def number(value: float) -> str:
    """A figure as a person reads it: three digits that matter."""
    if value == 0 or 0.001 <= abs(value) < 1000:
        places = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:.{min(places, 4)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.0f}" if abs(value) < 1e6 and abs(value) >= 1000 else f"{value:.2e}"


def _svg(chart: Chart, points: Sequence[tuple[float, float]], between: tuple[float, float], right: float,
         lines: int) -> str:
    low, high = between
    at = [(round(WIDE * x / right, 1), round(HIGH * (high - y) / (high - low), 1)) for x, y in points]
    path = "M" + "L".join(f"{x} {y}" for x, y in at)
    grid = "".join(f'<path class="grid" d="M0 {round(HIGH * index / (lines - 1), 1)}H{WIDE}"/>'
                   for index in range(lines))
    dots = "".join(f'<path class="dot" d="M{x} {y}h0"/>' for x, y in (at if chart.marks else at[-1:]))
    return (f'<svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" '
            f'aria-labelledby="{chart.name}-title" aria-describedby="{chart.name}-words" focusable="false">'
            f'{grid}<path class="curve" d="{path}"/>{dots}</svg>')
