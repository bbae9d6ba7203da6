"""What the Batch tab does: plain functions on plain values, which tests call without a page.

A visitor is what narrator.ui.visitors knows: whoever asks for a batch gets it from their own alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from narrator.batch import FORMATS, Row
from narrator.batch.edits import EditedRows, Edits, checked
from narrator.batch.jobs import BOTH, Batch, Batches, Wish
from narrator.batch.rows import failed_rows, forget_failed, page_of, replace_failed, row_at
from narrator.catalog import find_variant
from narrator.records import NarratorError, Variant
from narrator.speech import engine as speech_engine
from narrator.ui import batch_view as views
from narrator.ui.accessibility import status
from narrator.ui.batch_given import NONE, Given
from narrator.ui.choosing import offered
from narrator.ui.handlers import settings_from
from narrator.ui.visitors import owner

ROWS = 20  # of a page of the table
LIST_S = 5.0  # seconds between two looks at all batches
ACTIONS = {"waiting": {"stop"}, "running": {"stop"}, "stopping": {"stop"}, "done": {"remove"},
           "stopped": {"resume", "remove"}, "failed": {"resume", "remove"}, "interrupted": {"resume", "remove"}}
AUDIENCES = [("Alternative texts (up to 125 characters)", "alt"), ("Long descriptions", "long"), ("Both", BOTH)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """What the page shows next; None leaves a part as it is. seen: handed back at the next look."""

    seen: dict[str, Any]
    status: str | None = None
    choices: list[tuple[str, str]] | None = None
    facts: str | None = None
    bad: str | None = None
    table: str | None = None
    pages: tuple[int, int] | None = None  # the page of the table, from 1, and how many there are
    actions: set[str] | None = None
    undo: bool | None = None
    live: bool = False


def variants() -> list[Variant]:
    """What can describe pictures now."""
    return [variant for variant in offered() if variant.inputs.image]


def formats() -> list[tuple[str, str]]:
    """(title, id) of the kinds of result."""
    return [(one.title[:1].upper() + one.title[1:], name) for name, one in FORMATS.items()]


def start(visitor: Any, given: Given | None, asked: Mapping[str, Any], settings: Sequence[Any]) -> tuple[str, str]:
    """(status line, id of the batch, "" where none was begun). asked: fields of `Wish`."""
    try:
        mine = Batches(owner(visitor))
        if given is None or not Path(given.folder).is_dir():
            raise NarratorError(NONE)
        variant = find_variant(asked["variant"] or "")
        prompt = " ".join((asked["prompt"] or "").split()) if variant.inputs.text else ""
        if asked["format"] not in FORMATS or asked["audience"] not in ("alt", "long", BOTH):
            raise NarratorError("Choose which texts and which format first.")
        name = f"{given.count:,} picture{'' if given.count == 1 else 's'} by {variant.title}"
        wish = Wish(**{**asked, "prompt": prompt, "speak": bool(asked["speak"])}, title=name,
                    settings=settings_from(settings), pictures=given.count, left_out=given.left_out)
        batch = mine.begin(wish, Path(given.folder))
    except NarratorError as error:
        return status(str(error), "error"), ""
    return status(f"{batch.wish.title}: begun. It goes on when this page is closed.", "busy"), batch.id


def look(visitor: Any, batch_id: str | None, page: int, seen: Mapping[str, Any] | None = None) -> Look:
    """The watched batch and, now and then, all of them; parts that are as they were are None. page: from 1."""
    before = dict(seen or {})
    parts: dict[str, Any] = {}
    try:
        mine = Batches(owner(visitor))
        batch = mine.get(batch_id)
        rows = page_of(batch, (page - 1) * ROWS, ROWS)
        edits = Edits(batch.folder).over([])
        undo = bool(edits.edits)
    except NarratorError as error:
        choices = _choices(visitor)
        gone: dict[str, Any] = dict.fromkeys(("facts", "bad", "table"), "")
        line = status(str(error), "error") if batch_id else None
        return Look(seen={"batch": None}, choices=choices, status=line, actions=set(), pages=(1, 1), undo=False,
                    **gone)
    last = max(1, -(-rows.total // ROWS))
    after = {"batch": batch.id, "state": batch.state, "says": batch.says, "listed": before.get("listed", 0.0)}
    moved = before.get("batch") != batch.id or before.get("state") != batch.state
    if moved or time.monotonic() - after["listed"] > LIST_S:
        after["listed"] = time.monotonic()
        parts["choices"] = _choices(visitor)
    if moved or (batch.state == "waiting" and before.get("says") != batch.says):
        parts |= {"status": views.standing(batch), "actions": _actions(batch)}
    made = {"facts": views.facts(batch), "bad": views.bad_files(failed_rows(batch, 100), batch),
            "table": views.table([edits.edited(row) for row in rows.rows], batch, rows.start, rows.total)}
    for name, html in made.items():
        after[name] = hashlib.sha256(html.encode(errors="replace")).hexdigest()
        if before.get(name) != after[name]:
            parts[name] = html
    return Look(seen=after, pages=(min(page, last), last), undo=undo, live=batch.live, **parts)


def newest(visitor: Any) -> str | None:
    """The batch to watch first: the one that runs, else the newest."""
    try:
        batches = Batches(owner(visitor)).all()
    except NarratorError:
        return None
    return next((one.id for one in batches if one.live), batches[0].id if batches else None)


def format_of(visitor: Any, batch_id: str | None) -> str | None:
    """In which format a batch is wanted, None for one that is not there."""
    try:
        wanted = Batches(owner(visitor)).get(batch_id).wish.format
    except NarratorError:
        return None
    return wanted if wanted in FORMATS else None


def stop(visitor: Any, batch_id: str | None) -> str:
    """Ask a batch to stop; the status line."""
    return _said(lambda: views.standing(Batches(owner(visitor)).stop(batch_id)))


def resume(visitor: Any, batch_id: str | None) -> str:
    """Let a batch go on; the status line."""
    def work() -> str:
        batch = Batches(owner(visitor)).resume(batch_id)
        return status(f"{batch.wish.title} goes on.", "busy")
    return _said(work)


def retry(visitor: Any, batch_id: str | None) -> str:
    """Let what could not be described be tried again; the status line."""
    def work() -> str:
        mine, batch = _ended(visitor, batch_id)
        count = forget_failed(batch)
        if not count:
            raise NarratorError("Every picture is described: there is nothing to try again.")
        mine.resume(batch_id)
        return status(f"Trying {count:,} again.", "busy")
    return _said(work)


def replace(visitor: Any, batch_id: str | None, given: Given) -> str:
    """Put better files in the place of those that could not be described, and try these again; the status line."""
    def work() -> str:
        mine, batch = _ended(visitor, batch_id)
        count, others = replace_failed(batch, given.folder)
        if not count:
            raise NarratorError("None of these files is called like one that was not described. Give it the name of "
                                "the one that it stands in for, then choose it again.")
        forget_failed(batch)
        mine.resume(batch_id)
        more = f" Called like none of them, and left out: {', '.join(others[:3])}." if others else ""
        return status(f"{count:,} replaced. What was not described is tried again.{more}", "busy")
    return _said(work)


def _ended(visitor: Any, batch_id: str | None) -> tuple[Batches, Batch]:
    mine = Batches(owner(visitor))
    batch = mine.get(batch_id)
    if batch.live:
        raise NarratorError(f"{batch.wish.title} is under way: wait for its end, then try those again.")
    return mine, batch


def question(visitor: Any, batch_id: str | None) -> str:
    """What is asked before a batch is deleted. Raises NarratorError for one that is not there."""
    name = Batches(owner(visitor)).get(batch_id).wish.title
    return (f'<p id="batch-question">Delete the batch of {escape(name)}, its pictures and texts included? They are '
            "gone for good.</p>")


def remove(visitor: Any, batch_id: str | None) -> str:
    """Delete a batch; the status line."""
    def work() -> str:
        Batches(owner(visitor)).remove(batch_id)
        return status("The batch is deleted.", "done")
    return _said(work)


def texts_of(visitor: Any, batch_id: str | None, position: int | None) -> tuple[str, str, str]:
    """(what is edited, as HTML, its alternative text, its long description). Raises NarratorError where it is gone."""
    _, row = row_of(visitor, batch_id, position)
    return views.about(row), row.alt, row.long


def row_of(visitor: Any, batch_id: str | None, position: int | None) -> tuple[Batch, Row]:
    """(the batch, one of its rows with its edits). Raises NarratorError where there is none."""
    batch = Batches(owner(visitor)).get(batch_id)
    row = row_at(batch, -1 if position is None else int(position))
    return batch, EditedRows([], Edits(batch.folder).over([]).edits).edited(row)


def save(visitor: Any, batch_id: str | None, position: int | None, alt: str, long: str) -> tuple[str, bool]:
    """(status line, whether both texts of a row are kept). With a batch that speaks, they are spoken anew."""
    try:
        batch, row = row_of(visitor, batch_id, position)
        edit = checked(row.position, alt, long)
        if (edit.alt, edit.long) == (row.alt, row.long):
            return status("The texts are unchanged.", "ready"), True
        audio = _spoken(batch, edit.alt if batch.wish.audience == "alt" else edit.long) if batch.wish.speak else None
        Edits(batch.folder).add(dataclasses.replace(edit, audio=audio))
    except NarratorError as error:
        return status(str(error), "error"), False
    return status(f"The texts of {row.path} are kept. Undo takes them back.", "done"), True


def undo(visitor: Any, batch_id: str | None) -> str:
    """Take the last change of texts back; the status line."""
    def work() -> str:
        batch = Batches(owner(visitor)).get(batch_id)
        gone = Edits(batch.folder).undo()
        return status(f"Undone: the texts of {row_at(batch, gone.position).path} are as they were before.", "done")
    return _said(work)


def sound_of(batch: Batch, row: Row) -> Path | None:
    """The file of a row's sound."""
    if row.audio is None:
        return None
    home = batch.plan().home
    found = (home / "sounds" / Path(row.audio).name, batch.plan().sounds / Path(row.audio).name)
    return next((path for path in found if path.is_file()), None)


def _spoken(batch: Batch, text: str) -> str | None:
    plan = batch.plan()
    name = hashlib.sha256(f"{plan.voice}\n{text}".encode()).hexdigest()[:16]
    plan.sounds.mkdir(parents=True, exist_ok=True)
    path = plan.sounds / f"{name}.wav"
    if not path.exists():
        speech_engine().synthesize(text, path, voice=plan.voice)
    return f"{plan.sounds.name}/{path.name}"


def _actions(batch: Batch) -> set[str]:
    return ACTIONS[batch.state] | ({"retry"} if batch.failed and not batch.live else set())


def _choices(visitor: Any) -> list[tuple[str, str]]:
    try:
        return [(views.title(batch), batch.id) for batch in Batches(owner(visitor)).all()]
    except NarratorError:
        return []


def _said(work: Callable[[], str]) -> str:
    try:
        return work()
    except NarratorError as error:
        return status(str(error), "error")
