"""Corrections on the page: plain functions on plain values, which tests call without a page.

On a machine of one's own they are that person's, on disk. On a page that serves several people each browser has a
random secret, kept in the browser alone: who does not have it can neither see nor change its corrections.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from narrator.corrections import Correction, Corrections, Kept, corrections_of
from narrator.pictures import open_picture
from narrator.records import NarratorError
from narrator.ui.accessibility import status
from narrator.ui.handlers import Made
from narrator.ui.thumbnails import thumbnail
from narrator.ui.visitors import owner
from narrator.uploads import new_archive

SHOWN = 100  # of the newest: a longer table helps nobody
_SIDE = 112  # pixels of a small picture
NONE_YET = "<p>No correction is kept yet. Describe a picture, edit the description, then press Keep correction.</p>"


def corrections(visitor: Any) -> Corrections:
    """The visitor's own. Raises NarratorError as `narrator.ui.visitors.owner` does."""
    return corrections_of(owner(visitor))


def is_edited(text: str | None, made: Made | None) -> bool:
    """Whether there is a correction to keep."""
    words = " ".join((text or "").split())
    return made is not None and bool(words) and words != " ".join(made.text.split())


def keep(text: str | None, made: Made | None, visitor: Any) -> tuple[str, bool]:
    """(status line, whether the correction is kept)."""
    try:
        mine = corrections(visitor)
        if made is None:
            raise NarratorError("There is no description to correct: describe a picture first.")
        if not Path(made.path).is_file():
            raise NarratorError("The picture is not here any more: give it again, and describe it.")
        mine.keep(open_picture(Path(made.path)), before=made.text, after=text or "", variant=made.variant,
                  prompt=made.prompt)
        return status(f"Kept as a correction. You have {_count(mine.count())}.", "done"), True
    except NarratorError as error:
        return status(str(error), "error"), False


def title(visitor: Any) -> str:
    """The heading, with how many there are."""
    try:
        count = corrections(visitor).count()
    except NarratorError:
        count = 0
    return f"Corrections ({count})" if count else "Corrections"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """The table, and (name, id) of what can be deleted one by one."""

    table: str
    choices: list[tuple[str, str]]


def listing(visitor: Any) -> Listing:
    """The newest corrections, or the reason why there are none."""
    try:
        kept = corrections(visitor).all()
    except NarratorError as error:
        return Listing(table=f"<p>{escape(str(error))}</p>", choices=[])
    shown = kept.corrections[:SHOWN]
    choices = [(f"{number}: {_short(one.after)}", one.id) for number, one in enumerate(shown, start=1)]
    return Listing(table=(_table(kept) if shown else NONE_YET) + _left_out(kept), choices=choices)


def delete(correction_id: str | None, visitor: Any) -> str:
    """The status line."""
    def work() -> str:
        mine = corrections(visitor)
        if not correction_id:
            raise NarratorError("Choose the correction to delete first.")
        mine.delete(correction_id)
        return f"Deleted. You have {_count(mine.count())}."
    return _said(work)


def delete_all(visitor: Any) -> str:
    """The status line."""
    def work() -> str:
        corrections(visitor).clear()
        return "All corrections are deleted."
    return _said(work)


def question(visitor: Any) -> str:
    """What is asked before all are deleted. Raises NarratorError where there is nothing to delete."""
    count = corrections(visitor).count()
    if not count:
        raise NarratorError("There is no correction to delete.")
    return f'<p id="corrections-question">Delete {_count(count)}, pictures included? They are gone for good.</p>'


def export(visitor: Any) -> tuple[str, Path | None]:
    """(status line, a zip of all)."""
    try:
        mine = corrections(visitor)
        with new_archive() as path:
            kept = mine.pack(path)
    except NarratorError as error:
        return status(str(error), "error"), None
    return status(f"The zip with {_count(len(kept.corrections))} is ready. Press Save .zip.", "done"), path


def _said(work: Callable[[], str]) -> str:
    try:
        return status(work(), "done")
    except NarratorError as error:
        return status(str(error), "error")


def _count(count: int) -> str:
    return "no corrections" if not count else "1 correction" if count == 1 else f"{count:,} corrections"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _table(kept: Kept) -> str:
    rows = "".join(_row(number, one) for number, one in enumerate(kept.corrections[:SHOWN], start=1))
    more = len(kept.corrections) - SHOWN
    rest = f"<p>The {SHOWN} newest are shown; {more:,} more are kept and exported.</p>" if more > 0 else ""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("No.", "Picture", "Before", "After"))
    return ('<div class="scroll" role="region" aria-label="Kept corrections" tabindex="0"><table class="corrections">'
            f"<caption>Kept corrections, the newest first</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table></div>{rest}")


def _row(number: int, one: Correction) -> str:
    asked = f'<span class="asked">Asked: {escape(one.prompt)}</span>' if one.prompt else ""
    picture = thumbnail(one.picture, f"Picture {number}", _SIDE) or "cannot be shown"
    return (f'<tr><th scope="row">{number}</th><td>{picture}</td><td>{asked}{escape(one.before)}</td>'
            f"<td>{escape(one.after)}</td></tr>")


def _left_out(kept: Kept) -> str:
    count = len(kept.problems)
    return "" if not count else (f"<p>{count} damaged file{' is' if count == 1 else 's are'} left out; "
                                 "<code>python -m narrator corrections</code> names what is wrong.</p>")
