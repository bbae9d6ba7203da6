"""report.md: the report for people, every figure with its interval, its formula and its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from narrator.evaluation.figures import FIGURES, GROUPS, INTERVALS, figure, shown
from narrator.records import Score
from narrator.scene_types import rules

if TYPE_CHECKING:
    from narrator.evaluation.report import Measured, Report


def markdown(report: Report) -> str:
    """The whole report."""
    plan = report.plan
    split = f", split {plan.split}" if plan.split else ""
    settings = ", ".join(f"{name} {value}" for name, value in vars(plan.settings).items())
    parts = [
        f"# Evaluation of {', '.join(one.title for one in report.variants)}",
        f"{plan.name}{split}: {report.n_rows:,} {report.what}, {report.references:.1f} references each; made on "
        f"{report.created[:10]}. Settings: {settings}. Intervals are of 95 %, seed {plan.seed}.",
        _left_out(report), *results(report, 2), *explained([report], 2)]
    return "\n\n".join(part for part in parts if part) + "\n"


def results(report: Report, level: int) -> Iterable[str]:
    """What was found, in parts that begin with headings of that level."""
    head = "#" * level
    yield from (f"{head} Figures", _figures(report.variants), _missing(report))
    if len(report.variants) > 1:
        yield from (f"{head} Compared", COMPARED, _comparisons(report))
    if any(one.success for one in report.variants):
        yield from (f"{head} Success by type of scene", _stated(report), _success(report))
    if any(one.calibration for one in report.variants):
        yield from (f"{head} Confidence against what proved right", _calibration(report.variants))


def explained(reports: Sequence[Report], level: int) -> Iterable[str]:
    """The rules of the types of scene, and formula and source of each figure, once for several reports."""
    head, variants = "#" * level, [one for report in reports for one in report.variants]
    if any(one.success for one in variants):
        yield from (f"{head} Types of scene", "Assigned by these rules from the references alone; of equal counts the "
                    "type that stands first wins.", rules())
    yield from (f"{head} What the figures are", INTERVALS, _formulas(variants))


COMPARED = ("Second minus first on the same rows: paired bootstrap of 1,000 draws (Koehn 2004). \"Better\" and "
            "\"worse\" say how the second stands to the first where the interval leaves out 0; of twenty comparisons "
            "of equals one will do so by chance.")


def _left_out(report: Report) -> str:
    lines = [f"{one.title}: {one.left_out:,} of {one.n + one.left_out:,} rows failed and are left out."
             for one in report.variants if one.left_out]
    lines += [f"{name} could not run: {why}" for name, why in report.problems.items()]
    if report.bad_rows:
        lines.append(f"{report.bad_rows:,} rows of the data could not be used; the first: {report.bad[0]}.")
    return "\n".join(f"- {line}" for line in lines)


def _figures(variants: Sequence[Measured]) -> str:
    """A line for each figure, by group, a column for each variant."""
    lines = [_row(["figure", *(one.title for one in variants)]), _row(["---"] * (len(variants) + 1))]
    for group, title in GROUPS.items():
        names = [name for name in _names(variants) if figure(name).group == group]
        if names:
            lines.append(_row([f"**{title}**", *([""] * len(variants))]))
        for name in names:
            known = [{**one.scores, **one.measured}.get(name) for one in variants]
            unit = f", {figure(name).unit}" if figure(name).unit else ""
            lines.append(_row([figure(name).title + unit, *(shown(name, score) if score else "" for score in known)]))
    lines.append(_row(["rows", *(f"{one.n:,}" for one in variants)]))
    return "\n".join(lines)


def _missing(report: Report) -> str:
    return "\n".join(f"- {sentence}" for sentence in report.said.values())


def _comparisons(report: Report) -> str:
    titles = {one.variant: one.title for one in report.variants}
    lines = [_row(["first", "second", "figure", "difference", "the second is"]), _row(["---"] * 5)]
    return "\n".join([*lines, *(
        _row([titles[one.first], titles[one.second], figure(one.metric).title, shown(one.metric, one.difference),
              one.verdict]) for one in report.comparisons)])


def _stated(report: Report) -> str:
    limits = report.thresholds
    return (f"A text passes when its CIDEr-D reaches {limits['cider_d']:g} or {_percent(limits['words_found'])} of its "
            "content words stand in a reference. \"By chance\": the same texts, each given to the next picture. "
            "\"People\": each picture's first reference against its others.")


def _success(report: Report) -> str:
    lines = [_row(["model", "scene", "rows", "passing", "by chance", "people"]), _row(["---"] * 6)]
    for one in report.variants:
        for scene, part in one.success.items():
            lines.append(_row([one.title, scene, f"{part.n:,}", *map(_share, (part.share, part.chance, part.people))]))
    return "\n".join(lines)


def _calibration(variants: Sequence[Measured]) -> str:
    lines = [_row(["model", "confidence", "rows", "mean confidence", "mean right or found"]), _row(["---"] * 5)]
    for one in variants:
        for part in one.calibration:
            found = f"{part.found.value:.3f} ({part.found.low:.3f} to {part.found.high:.3f})"
            lines.append(_row([one.title, f"{part.low:.1f} to {part.high:.1f}", f"{part.n:,}", f"{part.confidence:.3f}",
                               found]))
    return "\n".join(lines)


def _formulas(variants: Sequence[Measured]) -> str:
    lines = [_row(["figure", "formula", "source", ""]), _row(["---"] * 4)]
    for name in _names(variants):
        one = figure(name)
        sense = {True: "More is better.", False: "Less is better.", None: ""}[one.higher_is_better]
        lines.append(_row([one.title, f"`{one.formula}`".replace("|", "\\|") if one.formula else "", one.source,
                           f"{sense} {one.says}".strip()]))
    return "\n".join(lines)


def _names(variants: Sequence[Measured]) -> list[str]:
    """The figures that some variant has, in the order of the groups."""
    known = dict.fromkeys(name for one in variants for name in (*one.scores, *one.measured))
    groups, order = list(GROUPS), list(FIGURES)
    return sorted(known, key=lambda name: (groups.index(figure(name).group),
                                           order.index(name) if name in FIGURES else len(order)))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _share(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{_percent(score.value)} ({_percent(score.low)} to {_percent(score.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
