"""A report as HTML: who is better, every figure with its interval and formula, scenes, calibration, what is missing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from html import escape

from narrator.evaluation import (
    GROUPS,
    INTERVALS,
    Comparison,
    Measured,
    Report,
    figure,
    object_words,
    scene_rules,
    shown,
)
from narrator.records import Score
from narrator.settings import GenerationSettings
from narrator.ui.charts import Bars, Curve, bars, curve, number
from narrator.ui.evaluate_view import scroll

DRAWN = ("cider_d", "accuracy", "words_found", "clip_score", "hallucination_i")  # of these the first MOST_DRAWN
MOST_DRAWN = 4
PAIRS_SHOWN = 6  # the others are behind a line
VERDICTS = {"better": "Better", "worse": "Worse", "cannot tell": "Cannot tell"}
ONE_ALONE = ('<p class="quiet">One variant was measured. Choose two or more, and they are compared on the same rows.'
             "</p>")
ALL = "all"


def report(found: Report) -> str:
    """The whole report; its tables are what the charts show."""
    parts = (_facts(found), _verdicts(found), _figures(found), _charts(found), _scenes(found), _calibration(found),
             _missing(found))
    name = escape(found.plan.name)
    return (f'<section aria-labelledby="evaluate-report-title"><h2 class="part" id="evaluate-report-title">Report on '
            f'{name}</h2>{"".join(parts)}</section>')


def titles(found: Report) -> dict[str, str]:
    """Variant -> what it is called."""
    return {one.variant: one.title for one in found.variants}


def _facts(found: Report) -> str:
    plan, usual = found.plan, GenerationSettings()
    changed = [f"{name.replace('_', ' ')} {value}" for name, value in vars(plan.settings).items()
               if value != getattr(usual, name)]
    rows = {"Measured on": f"{found.n_rows:,} {found.what}" + (f", split {plan.split}" if plan.split else "")
            + (f", the first {plan.limit:,}" if plan.limit else ""),
            "Variants": ", ".join(one.title for one in found.variants),
            "Settings": ", ".join(changed) or "the usual ones", "Made": f"{found.created[:16].replace('T', ' ')} UTC",
            "Licences": "; ".join(f"{one.title}: {one.license or 'unknown'}" for one in found.variants)}
    told = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
    return f'<dl class="facts">{told}</dl>'


def _verdicts(found: Report) -> str:
    head = '<h3>Who is better</h3>'
    if len(found.variants) < 2:
        return head + ONE_ALONE
    names = titles(found)
    pairs = [_pair(names[one], names[other], list(rows)) for (one, other), rows in itertools.groupby(
        found.comparisons, key=lambda row: (row.first, row.second)) if one in names and other in names]
    more = pairs[PAIRS_SHOWN:]
    rest = f"<details><summary>{len(more)} more pairs</summary>{''.join(more)}</details>" if more else ""
    how = ('<p class="quiet">Both described the same rows. Rows are drawn again 1,000 times (paired bootstrap, '
           "Koehn 2004): where the 95 % interval of the difference holds 0, nobody can tell. Of twenty comparisons of "
           "equals, one looks different by chance.</p>")
    return head + how + "".join(pairs[:PAIRS_SHOWN]) + rest


def _pair(first: str, second: str, rows: Sequence[Comparison]) -> str:
    by = {word: [figure(row.metric).title for row in rows if row.verdict == verdict]
          for verdict, word in VERDICTS.items()}
    told = "".join(f"<div><dt>{word}</dt><dd>{escape(', '.join(names))}</dd></div>"
                   for word, names in by.items() if names)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Figure", "Difference (95 % interval)", "Verdict"))
    body = "".join(f'<tr><th scope="row">{escape(figure(row.metric).title)}</th>'
                   f"<td>{escape(shown(row.metric, row.difference))}</td><td>{VERDICTS[row.verdict]}</td></tr>"
                   for row in rows)
    count = rows[0].n
    caption = escape(f"{second} minus {first}, {count:,} rows")
    table = (f'<table class="scores figures"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
             f"<tbody>{body}</tbody></table>")
    return (f'<section class="pair"><h4>{escape(second)} against {escape(first)}</h4><dl class="facts">{told}</dl>'
            f"<details><summary>The differences of {escape(second)} and {escape(first)}</summary>"
            f"{scroll(f'{second} minus {first}', table)}</details></section>")


def _figures(found: Report) -> str:
    names = list(dict.fromkeys(name for one in found.variants for name in (*one.scores, *one.measured)))
    head = "".join(f'<th scope="col">{escape(one.title)}</th>' for one in found.variants)
    body = ""
    for group, title in GROUPS.items():
        rows = "".join(_figure(name, found.variants) for name in names if figure(name).group == group)
        if rows:
            body += (f'<tbody><tr><th scope="rowgroup" colspan="{len(found.variants) + 1}" class="group">'
                     f"{escape(title)}</th></tr>{rows}</tbody>")
    table = ('<table class="scores figures all-figures"><caption>Every figure with its 95 % interval; open one for its '
             f'formula and source</caption><thead><tr><th scope="col">Figure</th>{head}</tr></thead>{body}</table>')
    words = scroll("Objects", _markdown_table(object_words()))
    counted = f"<details><summary>What counts as an object</summary>{words}</details>"
    how = f'<p class="quiet">{escape(INTERVALS)}</p>'
    return f"<h3>Figures</h3>{how}{scroll('Figures', table)}{counted if 'hallucination_i' in names else ''}"


def _figure(name: str, variants: Sequence[Measured]) -> str:
    known = figure(name)
    cells = ""
    for one in variants:
        score = one.scores.get(name) or one.measured.get(name)
        cells += f"<td>{escape(shown(name, score)) if score is not None else '–'}</td>"
    less = "less is better" if known.higher_is_better is False else ""
    notes = ", ".join(note for note in (known.unit, less) if note)
    small = f" <small>({escape(notes)})</small>" if notes else ""
    told = "".join(f"<p><strong>{label}:</strong> {escape(text)}</p>" for label, text in
                   (("How to read it", known.says), ("Formula", known.formula), ("Source", known.source)) if text)
    return (f'<tr><th scope="row"><details><summary>{escape(known.title)}{small}</summary>{told}</details>'
            f"</th>{cells}</tr>")


def _charts(found: Report) -> str:
    names = [name for name in DRAWN if any(name in one.scores for one in found.variants)][:MOST_DRAWN]
    return f'<div class="curves">{"".join(_bars(name, found.variants) for name in names)}</div>' if names else ""


def _bars(name: str, variants: Sequence[Measured]) -> str:
    known = figure(name)
    rows = [(one.title, _rounded(one.scores[name], known.digits), shown(name, one.scores[name]).partition(" ")[0])
            for one in variants if name in one.scores]
    better = {True: "More is better. ", False: "Less is better. ", None: ""}[known.higher_is_better]
    return bars(Bars(name=f"evaluate-{name}", title=known.title, rows=rows,
                     words=better + "; ".join(f"{one.title} {shown(name, one.scores[name])}" for one in variants
                                                    if name in one.scores) + "."))


def _rounded(score: Score, digits: int) -> Score:
    """As it is printed: what reads 0.000 has no bar."""
    return dataclasses.replace(score, value=round(score.value, digits), low=round(score.low, digits),
                               high=round(score.high, digits))


def _scenes(found: Report) -> str:
    if not any(one.success for one in found.variants):
        return ""
    bounds = " or ".join(f"{figure(name).title} is at least {number(least)}"
                         for name, least in found.thresholds.items())
    says = ("A row counts as a success when " + bounds + ". By chance: the same with the text about another picture. "
            "People: the first reference held against the others.")
    scenes = list(dict.fromkeys(scene for one in found.variants for scene in one.success))
    head = "".join(f'<th scope="col">{escape(one.title)}</th><th scope="col">by chance</th>' for one in found.variants)
    head += '<th scope="col">People</th>'
    body = "".join(_scene(scene, found) for scene in scenes)
    table = ('<table class="scores figures"><caption>Share of successes by type of scene</caption><thead><tr>'
             f'<th scope="col">Scene</th><th scope="col">Rows</th>{head}</tr></thead><tbody>{body}</tbody></table>')
    drawn = "".join(bars(Bars(
        name=f"evaluate-success-{place}", title=f"Success by type of scene: {one.title}",
        rows=[(scene, each.share, f"{each.share.value:.0%}") for scene, each in one.success.items()],
        words="; ".join(f"{scene} {each.share.value:.0%} of {each.n:,}" for scene, each in one.success.items()) + "."))
        for place, one in enumerate(found.variants) if one.success)
    rules = _markdown_table(scene_rules())
    return (f'<h3>Success by type of scene</h3><p class="quiet">{escape(says)}</p>{scroll("Success by scene", table)}'
            f"<details><summary>How a row gets its type of scene</summary>{scroll('Rules of scenes', rules)}</details>"
            f'<div class="curves">{drawn}</div>')


def _scene(scene: str, found: Report) -> str:
    cells, count = "", found.n_rows if scene == ALL else found.scenes.get(scene, 0)
    for one in found.variants:
        each = one.success.get(scene)
        cells += "".join(f"<td>{_share(score)}</td>" for score in (
            (None, None) if each is None else (each.share, each.chance)))
    people = next((each.people for one in found.variants if (each := one.success.get(scene)) is not None), None)
    cells += f"<td>{_share(people)}</td>"
    return f'<tr><th scope="row">{escape(scene)}</th><td>{count:,}</td>{cells}</tr>'


def _share(score: Score | None) -> str:
    return "–" if score is None else f"{score.value:.0%} ({score.low:.0%} to {score.high:.0%})"


def _calibration(found: Report) -> str:
    told = [one for one in found.variants if one.calibration]
    if not told:
        return ""
    drawn = "".join(_curve(one, place) for place, one in enumerate(told))
    return ('<h3>Whether it knows what it does not know</h3><p class="quiet">A point of the curve stands for rows of '
            "like confidence. On the broken line, confidence is the share of words that people wrote, too; below it, "
            f'the variant is too sure.</p><div class="curves">{drawn}</div><details>'
            f'<summary>The curves as tables</summary>{"".join(map(_bins, told))}</details>')


def _curve(one: Measured, place: int) -> str:
    points = [(each.confidence, each.found.value) for each in one.calibration]
    first, last = one.calibration[0], one.calibration[-1]
    words = f"At {last.confidence:.0%} confidence {last.found.value:.0%} of the words are found"
    if first is not last:
        words += f"; at {first.confidence:.0%}, {first.found.value:.0%}"
    return curve(Curve(name=f"evaluate-calibration-{place}", title=f"Calibration of {one.title}", points=points,
                       xs=[f"{part:.0%}" for part in (0, 0.25, 0.5, 0.75, 1)], right=1.0, ys=[0, 0.25, 0.5, 0.75, 1.0],
                       axis="confidence", words=f"{words}.", dots=range(len(points)), diagonal=True))


def _bins(one: Measured) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Confidence", "Rows", "Mean confidence", "Words found"))
    body = "".join(f'<tr><th scope="row">{each.low:.0%} to {each.high:.0%}</th><td>{each.n:,}</td>'
                   f"<td>{each.confidence:.0%}</td><td>{_share(each.found)}</td></tr>" for each in one.calibration)
    return (f'<table class="scores figures"><caption>Calibration of {escape(one.title)}</caption><thead><tr>{head}</tr>'
            f"</thead><tbody>{body}</tbody></table>")


def _missing(found: Report) -> str:
    """What is not in the tables, and why."""
    rows = [f"{figure(name).title}: {why}" for name, why in found.said.items()]
    rows += [f"{one.title}: {one.left_out:,} of {one.n + one.left_out:,} rows are left out." for one in found.variants
             if one.left_out]
    names = titles(found)
    rows += [f"{names.get(variant, variant)} is not measured. {why}" for variant, why in found.problems.items()]
    bad = "".join(f"<li>{escape(row)}</li>" for row in found.bad)
    count = "One row" if found.bad_rows == 1 else f"{found.bad_rows:,} rows"
    left = f"<details><summary>{count} of the data cannot be used</summary><ul>{bad}</ul></details>"
    told = "".join(f"<li>{escape(row)}</li>" for row in rows)
    return (f"<h3>What is missing</h3><ul>{told}</ul>" if told else "") + (left if bad else "")


def _markdown_table(text: str) -> str:
    """A table in Markdown, the only thing that the text holds, as HTML."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines()
            if line.lstrip().startswith("|")]
    head, body = rows[0], rows[2:]  # the second row is the rule below the head
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(f'<tr><th scope="row">{escape(row[0])}</th>'
                    + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>" for row in body)
    return (f'<table class="scores"><caption>Rules</caption><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody>'
            "</table>")
