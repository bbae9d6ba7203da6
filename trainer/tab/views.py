"""The tab's HTML: runs, figures, samples, findings, the report. What people and models wrote is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from narrator.hub.pulling import size
from narrator.ui.charts import duration, number
from narrator.ui.thumbnails import thumbnail
from trainer.jobs import Job
from trainer.tab.charts import Chart, drawing, table
from trainer.tab.places import UPLOADS
from trainer.tab.watching import TITLES, Sample, Watch

STATES = {"queued": "Waiting", "running": "Running", "done": "Done", "stopped": "Stopped", "failed": "Failed",
          "interrupted": "Broken off"}
LEVELS = {"error": "Problem", "warning": "Mind", "ok": "Good"}
NO_RUNS = '<p class="quiet">There are no runs yet. The first one that you start appears here.</p>'


def overview(jobs: Sequence[Job]) -> str:
    """All runs as a table, the newest first."""
    if not jobs:
        return NO_RUNS
    rows = "".join(f'<tr><th scope="row">{escape(title(job.id))}</th><td>{escape(state(job))}</td>'
                   f"<td>{job.step:,} of {job.total_steps:,}</td></tr>" for job in jobs)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Run (UTC)", "State", "Step"))
    return ('<div class="scroll" role="region" aria-label="All runs" tabindex="0"><table class="models">'
            f"<caption>All runs</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def title(run_id: str) -> str:
    """The name and the time in a run's id, to be read and heard: "my-captioner, 2026-11-21 15:39"."""
    found = re.fullmatch(r"(.+)-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ(-\d+)?", run_id)
    if found is None:
        return run_id
    name, year, month, day, hour, minute, number = found.groups()
    return f"{name}, {year}-{month}-{day} {hour}:{minute}{f' ({number[1:]})' if number else ''}"


def state(job: Job) -> str:
    """ "Running", "Waiting, number 2"."""
    place = f", number {job.position}" if job.state == "queued" and job.position else ""
    return STATES.get(job.state, job.state) + place


def facts(job: Job, seen: Watch) -> str:
    """Where the run stands, in figures. No live region: it would never be silent."""
    step, total = max(seen.step, 0) or job.step, seen.total or job.total_steps
    early = job.state == "done" and step < total
    full = total if job.state == "done" else step
    bar = f'<progress class="meter" aria-label="Steps done" value="{full}" max="{max(total, 1)}"></progress>'
    rows = {"State": state(job) + (", ended early" if early else ""),
            "Step": f"{step:,} of {total:,}" if total else "not begun"}
    if seen.stage:
        rows["Stage"] = seen.stage
    if job.state == "running":
        rows |= {"Time left": duration(seen.left_s()), **_pace(seen)}
    shown = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
    why = f'<p class="why">{escape(job.message)}</p>' if job.message and job.state != "running" else ""
    return (f'<section aria-labelledby="run-title"><h3 id="run-title">{escape(title(job.id))}</h3>'
            f'<div class="download">{bar}</div>{why}<dl class="facts figures">{shown}</dl></section>')


def _pace(seen: Watch) -> dict[str, str]:
    last, found = seen.last, {}
    if isinstance(last.get("learning_rate"), (int, float)):
        found["Learning rate"] = f"{last['learning_rate']:.3g}"
    if isinstance(last.get("examples_per_s"), (int, float)):
        found["Examples a second"] = number(last["examples_per_s"])
    for name, title in (("memory_bytes", "Memory"), ("gpu_bytes", "GPU memory")):
        if isinstance(last.get(name), (int, float)):
            found[title] = size(int(last[name]))
    if isinstance(last.get("gpu_percent"), (int, float)):
        found["GPU use"] = f"{last['gpu_percent']:.0f} %"
    return found


def charts(seen: Watch) -> list[Chart]:
    """The run's curves: loss, and what held-out examples say."""
    return [Chart(name="loss", title="Loss while training", series=seen.loss, total=seen.total, lower_is_better=True,
                  empty="No step yet."),
            Chart(name="validation", title=f"{seen.metric or 'Score'} on held-out examples", series=seen.score,
                  total=seen.total, lower_is_better=seen.lower_is_better, marks=True, empty="No evaluation yet.")]


def curves(seen: Watch) -> str:
    """Both curves."""
    return '<div class="curves">' + "".join(map(drawing, charts(seen))) + "</div>"


def tables(seen: Watch) -> str:
    """Both curves as tables."""
    return "".join(map(table, charts(seen))) or '<p class="quiet">Nothing to show yet.</p>'


def sample(found: Sample, place: int, step: int) -> str:
    """One held-out example: picture, and the three texts about it."""
    rows = [("Question", found.prompt), ("People wrote", found.reference), ("Before training", found.base),
            (f"At step {step:,}", found.text if step else "")]
    texts = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in rows if text)
    picture = thumbnail(found.image, f"Held-out picture {place}") if found.image else ""
    return f'<div class="sample">{picture}<dl class="texts">{texts}</dl></div>'


def findings(told: Mapping[str, Any]) -> str:
    """What a check found: the findings, a sample of the data, and what the training takes."""
    found = [row for row in told.get("findings", []) if isinstance(row, dict)]
    order = {"error": 0, "warning": 1, "ok": 2}
    rows = "".join(_finding(row) for row in sorted(found, key=lambda row: order.get(str(row.get("level")), 1)))
    takes = [duration(told["seconds"])] if isinstance(told.get("seconds"), (int, float)) else []
    takes += [f"{size(int(told[f'{what}_bytes']))} of {what}" for what in ("memory", "disk")
              if isinstance(told.get(f"{what}_bytes"), (int, float))]
    needs = f"<p>It takes {', '.join(takes)}.</p>" if takes else ""
    return (f'<section aria-labelledby="check-title"><h3 id="check-title">What the check found</h3>{needs}'
            f'<ul class="findings">{rows}</ul>{_pictures(told.get("samples", []))}</section>')


def _finding(row: Mapping[str, Any]) -> str:
    level = str(row.get("level", "warning"))
    where = f" ({row['file']}" + (f", line {row['line']}" if row.get("line") else "") + ")" if row.get("file") else ""
    remedy = f" <span>{escape(str(row['remedy']))}</span>" if row.get("remedy") else ""
    return (f'<li class="{escape(level)}"><strong>{LEVELS.get(level, "Mind")}: </strong>'
            f"{escape(str(row.get('what', '')) + where)}{remedy}</li>")


def _pictures(samples: Any) -> str:
    rows = [row for row in samples if isinstance(row, dict)][:12] if isinstance(samples, list) else []
    shown = "".join(f"<li>{thumbnail(row.get('image'), 'Sample')}"
                    f"<span>{escape(' / '.join(map(str, row.get('texts') or [])))}</span></li>" for row in rows)
    return f'<h4>A sample of the data</h4><ul class="thumbs">{shown}</ul>' if shown else ""


def report(name: str, scores: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """A finished run: its variant, and its scores with intervals beside those of the weights that it began with."""
    tables = "".join(_scores(data, of_set, base.get(data) or {}) for data, of_set in scores.items()
                     if isinstance(of_set, dict))
    return (f'<section aria-labelledby="report-title"><h3 id="report-title">Report</h3><p>{escape(name)} is in the '
            f"list of models on Narrate.</p>{tables}</section>")


def _scores(name: str, tuned: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(TITLES.get(metric, metric.replace("_", " ").capitalize()))}</th>'
                   + (f"<td>{_interval(base.get(metric))}</td>" if base else "")
                   + f"<td>{_interval(score)}</td></tr>" for metric, score in tuned.items())
    before = '<th scope="col">Before</th>' if base else ""
    return (f'<table class="scores"><caption>On {escape(_data(name))}, with 95 % intervals</caption><thead><tr>'
            f'<th scope="col">Score</th>{before}<th scope="col">Tuned</th></tr></thead><tbody>{rows}</tbody></table>')


def _data(path: str) -> str:
    """A data set by its name; what was uploaded has none."""
    return "the held-out pictures of the upload" if path.startswith(f"{UPLOADS}/") else path


def _interval(score: Any) -> str:
    try:
        return f"{float(score['value']):.3f} ({float(score['low']):.3f} to {float(score['high']):.3f})"
    except (KeyError, TypeError, ValueError):
        return "–"


def log(text: str) -> str:
    """The end of the run's log. The newest line is in sight: the box is turned over by the style sheet."""
    return ('<div class="log" role="region" aria-label="Log of the run" tabindex="0"><pre>'
            f"{escape(text) or 'The run has said nothing yet.'}</pre></div>")


def looking(what: str, done: int, total: int) -> str:
    """How far a check is. No live region: it would never be silent."""
    return (f'<progress class="meter" aria-label="Checked" value="{done}" max="{max(1, total)}"></progress>'
            f'<p class="quiet">{escape(what[:1].upper() + what[1:])}: {done:,} of {total:,}.</p>')


def unpacked(share: float) -> str:
    """How much is unpacked. No live region: it would never be silent."""
    return (f'<progress class="meter" aria-label="Unpacked" value="{share:.3f}" max="1"></progress>'
            f'<p class="quiet">{share:.0%} unpacked.</p>')
