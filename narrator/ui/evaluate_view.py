"""The Evaluate tab's HTML about evaluations, their examples and the leaderboard. What people wrote is escaped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from html import escape

from narrator.catalog import load_variants
from narrator.evaluation import Evaluation, ScoredRow, Standing, figure, shown
from narrator.hub.pulling import size
from narrator.records import Score
from narrator.ui.charts import duration, number
from narrator.ui.models_view import parameters
from narrator.ui.thumbnails import thumbnail

STATES = {"new": "Not begun", "queued": "Waiting", "running": "Running", "scoring": "Computing the figures",
          "done": "Done", "stopped": "Cancelled", "failed": "Failed", "interrupted": "Broken off"}
NONE_YET = ('<p class="quiet">There are no evaluations yet. Choose one or more variants and pictures with texts, then '
            "press Start: the report appears here.</p>")
NO_STANDING = '<p class="quiet">There is no variant yet: train one, or download one in the tab Models.</p>'
RANKED = ("cider_d", "accuracy", "clip_score", "words_found", "hallucination_i")  # columns, where anyone has them
TOLD = ("cider_d", "clip_score", "meteor", "words_found", "confidence", "accuracy")  # below an example
TOO_LONG = 400  # signs of a text in an example


def title(found: Evaluation) -> str:
    """ "my-pictures.zip, 2026-11-21 15:39"."""
    if found.plan is None:  # damaged
        return found.id
    return f"{found.plan.name}, {found.created[:16].replace('T', ' ')}"


def state(found: Evaluation) -> str:
    """ "Running", "Cancelling"."""
    if found.stopping:
        return "Cancelling"
    return STATES.get(found.state, found.state)


def overview(found: Sequence[Evaluation]) -> str:
    """All evaluations as a table, the newest first."""
    if not found:
        return NONE_YET
    rows = "".join(f'<tr><th scope="row">{escape(title(one))}</th><td>{escape(state(one))}</td>'
                   f"<td>{one.done:,} of {one.total:,}</td></tr>" for one in found)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Evaluation (UTC)", "State", "Descriptions"))
    return scroll("All evaluations", '<table class="models"><caption>All evaluations</caption>'
                  f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def facts(found: Evaluation) -> str:
    """Where an evaluation stands, in figures. No live region: it would never be silent."""
    total = max(found.total, 1)
    done = total if found.state in ("scoring", "done") else found.done
    bar = f'<progress class="meter" aria-label="Descriptions done" value="{done}" max="{total}"></progress>'
    rows = {"State": state(found), "Descriptions": f"{found.done:,} of {found.total:,}"}
    if found.state == "running":
        known = load_variants().get(found.variant)
        rows |= {"At work": known.title if known is not None else found.variant, "Time left": duration(found.left_s)}
        if found.rate:
            rows["A second"] = number(found.rate)
    rows["On disk"] = size(found.size_bytes)
    told = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items() if value)
    why = f'<p class="why">{escape(found.message)}</p>' if found.message and found.state != "done" else ""
    left = "".join(f"<li>{escape(variant)}: {escape(reason)}</li>" for variant, reason in found.problems.items())
    problems = f'<p class="why">Not measured:</p><ul class="why">{left}</ul>' if left else ""
    return (f'<section aria-labelledby="evaluation-title"><h3 id="evaluation-title">{escape(title(found))}</h3>'
            f'<div class="download">{bar}</div>{why}{problems}<dl class="facts figures">{told}</dl></section>')


def scroll(label: str, inside: str) -> str:
    """A part that scrolls sideways by itself, also by keyboard."""
    return f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">{inside}</div>'


def examples(rows: Sequence[ScoredRow], variant: str, titles: Mapping[str, str]) -> str:
    """Rows with picture, references and what each variant said; the chosen variant's own figures below."""
    if not rows:
        return '<p class="quiet">No row fits this choice. Choose another type of scene.</p>'
    return f'<ol class="cases">{"".join(_example(row, variant, titles) for row in rows)}</ol>'


def _example(row: ScoredRow, variant: str, titles: Mapping[str, str]) -> str:
    picture = thumbnail(row.image, f"Picture of row {row.row + 1}") if row.image is not None else ""
    own = {name: text for name, text in row.texts.items() if name == variant}
    said = [(titles.get(name, name), text) for name, text in (own | dict(row.texts)).items()]
    pairs = [("Asked", row.prompt), ("People wrote", " / ".join(row.references)), *said]
    if variant in row.errors:
        pairs.append(("Not described", row.errors[variant]))
    told = "".join(f'<div{_own(name, titles.get(variant))}><dt>{escape(name)}</dt><dd>{escape(_cut(text))}</dd></div>'
                   for name, text in pairs if text)
    return f'<li>{picture}<div><dl class="texts">{told}</dl>{_figures(row, variant)}</div></li>'


def _own(name: str, chosen: str | None) -> str:
    return ' class="own"' if name == chosen else ""


def _figures(row: ScoredRow, variant: str) -> str:
    values = row.scores.get(variant, {})
    told = [name for name in TOLD if name in values] or list(values)[:3]
    parts = [f"{figure(name).title} {values[name]:,.{figure(name).digits}f}" for name in told]
    if row.hallucinated.get(variant):
        parts.append(f"named, but by no reference: {', '.join(dict.fromkeys(row.hallucinated[variant]))}")
    if row.scene:
        parts.insert(0, f"scene: {row.scene}")
    return f'<p class="quiet">{escape("; ".join(parts))}.</p>' if parts else ""


def _cut(text: str) -> str:
    return text if len(text) <= TOO_LONG else text[:TOO_LONG - 1] + "…"


def leaderboard(found: Sequence[Standing]) -> str:
    """All variants, those that were measured on the same data together."""
    if not found:
        return NO_STANDING
    groups = [(data, list(rows)) for data, rows in itertools.groupby(found, key=lambda one: one.data)]
    return "".join(_group(data, rows) for data, rows in groups)


def _group(data: str, rows: Sequence[Standing]) -> str:
    columns: list[tuple[str, Callable[[Standing], str]]] = [
        (figure(name).title, _scored(name)) for name in RANKED if any(name in one.scores for one in rows)]
    if data:
        columns += [("Seconds each", lambda one: _score("seconds_per_row", one.seconds_per_row)),
                    (f"Memory ({figure('memory').unit})", lambda one: _score("memory", one.memory))]
    if any(one.votes for one in rows):
        columns.append(("Preferred", _votes))
    columns += [("Size", lambda one: parameters(one.parameters)), ("Licence", lambda one: one.license or "unknown")]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("Model", *(name for name, _ in columns)))
    body = "".join(f'<tr><th scope="row">{escape(one.title)}</th>'
                   + "".join(f"<td>{escape(cell(one))}</td>" for _, cell in columns) + "</tr>" for one in rows)
    name = f"Measured on {data} ({rows[0].n:,} rows)" if data else "Not measured yet"
    return scroll(name, f'<table class="models ranks figures"><caption>{escape(name)}</caption><thead><tr>{head}</tr>'
                  f"</thead><tbody>{body}</tbody></table>")


def _scored(name: str) -> Callable[[Standing], str]:
    return lambda one: _score(name, one.scores.get(name))


def _score(name: str, score: Score | None) -> str:
    return "–" if score is None else shown(name, score)


def _votes(one: Standing) -> str:
    if one.rating is None:
        return "–"
    low, high = f"{one.rating.low:.0%}", f"{one.rating.high:.0%}"
    return f"{one.rating.value:.0%} ({low} to {high}), {one.votes:,} {'vote' if one.votes == 1 else 'votes'}"
