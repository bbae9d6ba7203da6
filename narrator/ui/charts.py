"""Charts as inline SVG that works in light, in dark and on a phone; their words and tables say the same.

Numbers and axes are HTML beside the drawing, which is stretched to its place while its strokes are not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape

from narrator.records import Score

WIDE, HIGH = 1000, 400  # of the drawing's own coordinates


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


def duration(seconds: float | None) -> str:
    """ "about 4 min", "about 2 h 10 min"."""
    if seconds is None:
        return "not known yet"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60} min"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Points joined by a line. name: for ids; title: what the values are; xs: the numbers below the axis, evenly spaced
    from 0; ys: those beside it, from the bottom up; diagonal: a straight line from corner to corner to compare with."""

    name: str
    title: str
    points: Sequence[tuple[float, float]]
    xs: Sequence[str]
    right: float  # x at the right edge; the left one is 0
    ys: Sequence[float]
    axis: str  # what x is
    words: str  # the curve in a sentence
    dots: Sequence[int] = ()  # which points get one; negative ones count from the end
    diagonal: bool = False


def heading(name: str, title: str) -> str:
    """What a drawing is named by."""
    return f'<h3 id="{name}-title">{escape(title)}</h3>'


def curve(chart: Curve) -> str:
    """The figure: heading, curve, axes, and the same in a sentence."""
    low, high = chart.ys[0], chart.ys[-1]
    at = [(round(WIDE * x / chart.right, 1), round(HIGH * (high - y) / (high - low), 1)) for x, y in chart.points]
    grid = "".join(f'<path class="grid" d="M0 {round(HIGH * index / (len(chart.ys) - 1), 1)}H{WIDE}"/>'
                   for index in range(len(chart.ys)))
    straight = f'<path class="ideal" d="M0 {HIGH}L{WIDE} 0"/>' if chart.diagonal else ""
    dots = "".join(f'<path class="dot" d="M{at[place][0]} {at[place][1]}h0"/>' for place in chart.dots)
    path = "M" + "L".join(f"{x} {y}" for x, y in at)
    ys = "".join(f"<span>{number(value)}</span>" for value in reversed(chart.ys))
    xs = "".join(f"<span>{escape(text)}</span>" for text in chart.xs)
    return (f'<figure class="chart">{heading(chart.name, chart.title)}<div class="plot">'
            f'<div class="ys" aria-hidden="true">{ys}</div>'
            f'<svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" '
            f'aria-labelledby="{chart.name}-title" aria-describedby="{chart.name}-words" focusable="false">'
            f'{grid}{straight}<path class="curve" d="{path}"/>{dots}</svg>'
            f'<div class="xs" aria-hidden="true">{xs}</div>'
            f'<div class="axis" aria-hidden="true">{escape(chart.axis)}</div></div>'
            f'<figcaption id="{chart.name}-words">{escape(chart.words)}</figcaption></figure>')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bars:
    """Values side by side, each with its 95 % interval. rows: (what it is, its score, how it is written)."""

    name: str
    title: str
    rows: Sequence[tuple[str, Score, str]]
    words: str  # the same in a sentence


def bars(chart: Bars) -> str:
    """The figure: a bar a row from 0 to the value, and a line over its interval."""
    most = ticks(0.0, max(max(score.value, score.high) for _, score, _ in chart.rows))[-1]
    least = min(0.0, *(min(score.value, score.low) for _, score, _ in chart.rows))
    across = WIDE / (most - least)
    rows = ""
    for label, score, written in chart.rows:
        zero, end, low, high = (round((value - least) * across, 1)
                                for value in (0.0, score.value, score.low, score.high))
        rows += (f'<span class="name">{escape(label)}</span><svg viewBox="0 0 {WIDE} 20" preserveAspectRatio="none" '
                 f'aria-hidden="true" focusable="false"><path class="bar" d="M{zero} 10H{end}"/>'
                 f'<path class="whisker" d="M{low} 10H{high}M{low} 5V15M{high} 5V15"/></svg>'
                 f'<span class="value">{escape(written)}</span>')
    return (f'<figure class="chart" aria-labelledby="{chart.name}-title">{heading(chart.name, chart.title)}'
            f'<div class="bars" role="img" aria-labelledby="{chart.name}-title" aria-describedby="{chart.name}-words">'
            f'{rows}</div><figcaption id="{chart.name}-words">{escape(chart.words)}</figcaption></figure>')
