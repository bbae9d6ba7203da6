"""What the History tab does: plain functions on plain values, which tests call without a page."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from narrator.catalog import load_variants
from narrator.corrections import Correction
from narrator.history import KINDS, Entry, Store, history_of, packing, store_of
from narrator.keeping import keeps_nothing
from narrator.records import NarratorError
from narrator.rows import BadRow
from narrator.ui import history_view as views
from narrator.ui.accessibility import status
from narrator.ui.visitors import owner
from narrator.ui.work import newest
from narrator.uploads import new_copy, new_export
from narrator.votes import Vote

SHOWN = 12  # at once
NARRATIONS, VOTES, CORRECTIONS = "narrations", "votes", "corrections"
TITLES = {NARRATIONS: "Narrations", VOTES: "Votes", CORRECTIONS: "Corrections"}
NONE_YET = {NARRATIONS: "No narration is kept yet. Describe a picture on the Narrate tab: it appears here.",
            VOTES: "No vote is kept yet. Vote on the Compare tab: it appears here.",
            CORRECTIONS: "No correction is kept yet. Edit a description on the Narrate tab, press Keep correction: it "
                         "appears here."}
READY = status("What you make is listed here, for you alone.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """A table and the status line that says what it shows, (name, id) of what can be chosen, the number of the first
    line, which ways there are to go on, and whether anything of the kind is kept at all."""

    table: str
    said: str
    choices: tuple[tuple[str, str], ...] = ()
    start: int = 0
    newer: bool = False
    older: bool = False
    any: bool = False


def store(kind: Any, visitor: Any) -> Store:
    """Where the visitor's own of a kind are kept. Raises NarratorError for a browser without a secret."""
    return store_of(kind if kind in KINDS else NARRATIONS, owner(visitor))


def listing(kind: Any, words: Any, start: Any, visitor: Any) -> Listing:
    """SHOWN lines from `start`, those that hold the words where there are any; or the reason why there are none."""
    kind, words = kind if kind in TITLES else NARRATIONS, str(words or "").strip()
    begin = max(start, 0) if isinstance(start, int) else 0
    try:
        mine = store(kind, visitor)
        found = mine.page(begin, SHOWN, words)
        if not found.rows and begin and found.total:  # the last page has been emptied
            begin = (found.total - 1) // SHOWN * SHOWN
            found = mine.page(begin, SHOWN, words)
        count = mine.count()
    except NarratorError as error:
        return Listing(table=f"<p>{escape(str(error))}</p>", said=status(str(error), "error"))
    titles = {variant.id: variant.title for variant in load_variants().values()}
    lines = tuple(_line(one, titles) for one in found.rows)
    rest = views.left_out(len(found.problems))
    if not lines:
        said = f"Nothing of {count:,} holds “{words}”." if words and count else NONE_YET[kind]
        return Listing(table=f"<p>{escape(said)}</p>{rest}", said=status(said), any=count > 0)
    choices = tuple((views.short(number, line), line.id) for number, line in enumerate(lines, start=begin + 1))
    said = f"{TITLES[kind]}: {views.span(len(lines), begin, found.total)}{' that hold the words' if words else ''}."
    return Listing(table=views.table(TITLES[kind], lines, begin, found.total) + rest, said=status(said),
                   choices=choices, start=begin, newer=begin > 0, older=begin + len(lines) < found.total, any=True)


def delete(kind: Any, chosen: Any, visitor: Any) -> str:
    """The status line."""
    return _said(lambda: _delete(store(kind, visitor), chosen))


def delete_all(kind: Any, visitor: Any) -> str:
    """The status line."""
    def work() -> str:
        store(kind, visitor).clear()
        return f"All {TITLES.get(kind, 'of them').lower()} are deleted."
    return _said(work)


def question(kind: Any, visitor: Any) -> str:
    """What is asked before all are deleted. Raises NarratorError where there is nothing to delete."""
    count = store(kind, visitor).count()
    if not count:
        raise NarratorError("There is nothing to delete.")
    return (f'<p id="history-question">Delete {_counted(kind, count)}, pictures and sounds included? They are gone for '
            "good.</p>")


async def export(kind: Any, visitor: Any) -> AsyncIterator[tuple[str, Path | None]]:
    """(status line, None) while the zip of all is made, (status line, the zip) in the end."""
    kind = kind if kind in TITLES else NARRATIONS
    try:
        mine = store(kind, visitor)

        def start(stop: threading.Event) -> Iterator[tuple[str, Path | None]]:
            with new_export(f"{kind}.zip") as path:
                done = 0
                for done, total in packing(mine, path):
                    yield f"Packing {done:,} of {total:,} …", None
            yield f"The zip with {_counted(kind, done)} is ready. Press Save .zip.", path

        async for line, path in newest(start):
            yield status(line, "done" if path else "busy"), path
    except NarratorError as error:
        yield status(str(error), "error"), None


def sound(chosen: Any, visitor: Any) -> tuple[str, Path | None]:
    """(status line, a copy of the sound of a narration that the page may play)."""
    try:
        entry = _entry(chosen, visitor)
        if entry.sound is None:
            raise NarratorError("This narration was not spoken, or its sound is not kept any more: open it in Narrate, "
                                "then press Speak.")
        return status("Playing the narration.", "done"), new_copy(entry.sound)
    except NarratorError as error:
        return status(str(error), "error"), None


def find(chosen: Any, visitor: Any) -> Entry:
    """A narration to open again. Raises NarratorError where it is gone or damaged."""
    return _entry(chosen, visitor)


def keeping(wanted: bool) -> str:
    """The status line once a person has said whether narrations are kept."""
    if keeps_nothing():
        return status("This server keeps nothing.", "error")
    return status("Narrations are kept from now on." if wanted else
                  "Narrations are not kept from now on. Those that are kept stay until you delete them.", "done")


def _delete(mine: Store, chosen: Any) -> str:
    if not chosen:
        raise NarratorError("Choose what to delete first.")
    mine.delete(str(chosen))
    return f"Deleted. {mine.count():,} left."


def _entry(chosen: Any, visitor: Any) -> Entry:
    if not chosen:
        raise NarratorError("Choose a narration first.")
    try:
        return history_of(owner(visitor)).find(str(chosen))
    except BadRow as error:
        raise NarratorError(f"{error}: delete it.") from None


def _line(one: Entry | Vote | Correction, titles: Mapping[str, str]) -> views.Line:
    """titles: of the variants, by their ids."""
    if isinstance(one, Vote):
        named = [titles.get(variant, variant) for variant in one.variants]
        outcome = {"tie": "A tie", "all bad": "All bad"}.get(one.outcome) or (
            f"Best: {titles.get(one.winner or '', one.winner)}")
        return views.Line(id=one.id, time=one.time, texts=tuple(zip(named, one.texts, strict=True)), asked=one.prompt,
                          by=outcome + (", by listening" if one.listening else ""))
    if isinstance(one, Correction):
        return views.Line(id=one.id, time=one.time, texts=(("Before", one.before), ("After", one.after)),
                          asked=one.prompt, by=titles.get(one.variant, one.variant), picture=one.picture)
    made = one.narration
    return views.Line(id=one.id, time=made.created, texts=(("", made.text),), asked=made.prompt,
                      by=titles.get(made.variant_id, made.variant_id), picture=next(iter(one.pictures), None),
                      spoken=one.sound is not None)


def _counted(kind: Any, count: int) -> str:
    title = TITLES.get(kind, "Narrations").lower()
    return f"1 {title[:-1]}" if count == 1 else f"{count:,} {title}"


def _said(work: Callable[[], str]) -> str:
    try:
        return status(work(), "done")
    except NarratorError as error:
        return status(str(error), "error")
