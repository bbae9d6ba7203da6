"""The HTML of a batch that is watched: how far it is, its rows as a table. What people and models wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from narrator.batch import Row
from narrator.batch.jobs import BOTH, Batch
from narrator.catalog import load_variants
from narrator.ui.accessibility import status
from narrator.ui.batch_given import problems
from narrator.ui.thumbnails import thumbnail

STATES = {"waiting": "Waiting", "running": "Running", "stopping": "Stopping", "done": "Done", "stopped": "Stopped",
          "failed": "Failed", "interrupted": "Broken off"}
TEXTS = {"alt": "Alternative text", "long": "Long description"}
NO_BATCH = '<p class="quiet">No batch yet. Choose pictures, then press Describe all.</p>'


def title(batch: Batch) -> str:
    """How a batch is called in the list."""
    day = batch.wish.created[:16].replace("T", " ")
    return f"{batch.wish.title}, {day} UTC ({STATES.get(batch.state, batch.state).lower()})"


def standing(batch: Batch) -> str:
    """How a batch stands, as a status line."""
    name, far = batch.wish.title, f"{batch.done:,} of {batch.total:,}" if batch.total else f"{batch.done:,}"
    bad = f" {batch.failed:,} could not be described." if batch.failed else ""
    sentences = {
        "waiting": (f"{name}: {batch.says or 'it is about to begin.'}", "busy"),
        "running": (f"{name}: {batch.says or 'describing.'} It goes on when this page is closed.", "busy"),
        "stopping": (f"{name} stops after its next few pictures. Press Cancel again to end it at once.", "busy"),
        "done": (f"{name} is done: {_many(batch.done, 'picture')}.{bad}", "done"),
        "stopped": (f"{name} is stopped at {far} pictures. Resume goes on from there.", "stopped"),
        "failed": (batch.says or f"{name} failed at {far} pictures.", "error"),
        "interrupted": (f"{name} broke off at {far} pictures. Resume goes on from there.", "error")}
    return status(*sentences[batch.state])


def facts(batch: Batch) -> str:
    """How far it is, with a bar while it runs, what was asked, and what was left out. No live region."""
    variant = load_variants().get(batch.wish.variant)
    rows = {"State": STATES[batch.state], "Described": f"{batch.done - batch.failed:,}",
            "Not described": f"{batch.failed:,}", "The same picture again": f"{batch.duplicates:,}",
            "Took": _time(batch.seconds) if batch.seconds else "", "Time left": _left(batch),
            "Model": variant.title if variant is not None else batch.wish.variant, "Prompt": batch.wish.prompt}
    said = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items() if value)
    return f'{_bar(batch)}<dl class="facts figures">{said}</dl>{problems("Left out", batch.wish.left_out)}'


def bad_files(rows: Sequence[Row], batch: Batch) -> str:
    """What could not be described, by name, with the reason; "" for nothing."""
    return problems("Not described", [(row.path, row.error or "") for row in rows])


def table(rows: Sequence[Row], batch: Batch, start: int, total: int) -> str:
    """Some of the rows, from number `start` (0 is the first) of `total` that are there."""
    if not rows:
        waits = "The first rows appear here soon." if batch.live else "There are no rows."
        return f'<p class="quiet">{waits}</p>'
    wanted = batch.wish.audience
    names = ["Picture", "File", *(name for kind, name in TEXTS.items() if wanted in (kind, BOTH)), "Change"]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(_row(row, batch) for row in rows)
    caption = f"Rows {start + 1:,} to {start + len(rows):,} of {total:,}" if total > len(rows) else (
        f"{_many(total, 'row')}")
    return (f'<div class="scroll" role="region" aria-label="Rows" tabindex="0"><table class="batch-rows"><caption>'
            f"{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")


def about(row: Row) -> str:
    """The picture whose texts are edited."""
    picture = thumbnail(Path(row.file), "") if row.sha256 else ""
    said = f"<p>It was not described: {escape(row.error)}</p>" if row.error else ""
    return f'<div class="batch-edited">{picture}<div><h3>Texts of {escape(row.path)}</h3>{said}</div></div>'


def _row(row: Row, batch: Batch) -> str:
    name = escape(row.path)
    picture = thumbnail(Path(row.file), row.alt or "Not described") if row.sha256 else ""
    wanted = batch.wish.audience
    if row.error is not None:
        texts = f'<td colspan="{2 if wanted == BOTH else 1}"><strong>Not described:</strong> {escape(row.error)}</td>'
    else:
        told = [(TEXTS[kind], text) for kind, text in (("alt", row.alt), ("long", row.long)) if wanted in (kind, BOTH)]
        texts = "".join(f'<td data-name="{name}">{escape(text)}</td>' for name, text in told)
    same = f'<span class="asked">The same as {escape(row.duplicate_of)}</span>' if row.duplicate_of else ""
    buttons = _button("edit", row, "Edit", f"Edit the texts of {name}") + (
        _button("play", row, "Play", f"Play the description of {name}") if row.audio else "")
    return (f'<tr><td>{picture or "No picture"}</td><th scope="row">{name}{same}</th>{texts}'
            f'<td class="batch-change">{buttons}</td></tr>')


def _button(does: str, row: Row, word: str, label: str) -> str:
    return (f'<button type="button" class="batch-{does}" data-position="{row.position}" aria-label="{label}">{word}'
            "</button>")


def _bar(batch: Batch) -> str:
    if not batch.live:
        return ""
    value = f'value="{batch.done}" max="{batch.total}"' if batch.total else ""
    far = f"{batch.done:,} of {batch.total:,} pictures ({batch.done / batch.total:.0%})" if batch.total else (
        f"{batch.done:,} pictures")
    return (f'<div class="download"><progress class="meter" aria-label="{escape(batch.wish.title)}" {value}></progress>'
            f"<span>{far}</span></div>")


def _left(batch: Batch) -> str:
    return "about " + _time(batch.left_s) if batch.state == "running" and batch.left_s is not None else ""


def _time(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min, 2 h 5 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _many(count: int, one: str) -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
