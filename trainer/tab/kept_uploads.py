"""What was uploaded here to learn from, and is still kept: listed with its size, and deleted when a person says so."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from narrator.hub.pulling import size
from narrator.records import NarratorError
from trainer.jobs import CONFIG, list_jobs
from trainer.queue import turn
from trainer.tab import places, views

NAME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ-[0-9a-f]{6}")  # as places.new_upload names them
NONE = '<p class="quiet">Nothing is kept of earlier uploads.</p>'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """One upload. size: bytes on the disk. needed_by: runs that wait, run or can be resumed, and learn from it."""

    id: str
    size: int
    needed_by: tuple[str, ...]


def kept() -> list[Kept]:
    """All of them, the newest first."""
    needed = _needed()
    folders = [path for path in _home().iterdir() if NAME.fullmatch(path.name) and path.is_dir()]
    return [Kept(id=folder.name, size=_size(folder), needed_by=_runs(folder.name, needed))
            for folder in sorted(folders, reverse=True)]


def title(upload_id: str) -> str:
    """When it came: "2026-11-21 15:39"."""
    found = NAME.fullmatch(upload_id)
    return "{}-{}-{} {}:{}".format(*found.groups()) if found else upload_id


def table(uploads: Sequence[Kept]) -> str:
    """All of them as a table."""
    if not uploads:
        return NONE
    rows = "".join(f'<tr><th scope="row">{escape(title(one.id))}</th><td>{size(one.size)}</td>'
                   f"<td>{escape('; '.join(map(views.title, one.needed_by))) or '–'}</td></tr>" for one in uploads)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Uploaded (UTC)", "Size", "Needed by"))
    return ('<div class="scroll" role="region" aria-label="Kept uploads" tabindex="0"><table class="models">'
            f"<caption>Kept uploads</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def choices(uploads: Sequence[Kept]) -> list[tuple[str, str]]:
    """(title, id) of those that may be deleted."""
    return [(f"{title(one.id)} ({size(one.size)})", one.id) for one in uploads if not one.needed_by]


def question(upload_id: str | None, held: str | None) -> str:
    """What is asked before it is deleted. Raises NarratorError for one that is not there or is needed."""
    folder = _free(upload_id, held)
    return (f'<p id="train-uploads-question">Delete the upload of {escape(title(folder.name))} '
            f"({size(_size(folder))})? Finished runs that learned from it no longer show its pictures; what they have "
            "made stays.</p>")


def delete(upload_id: str | None, held: str | None) -> str:
    """Delete it, once a person has said yes; a sentence. held: the upload that the form holds now.

    Raises NarratorError for one that is not there or is needed, as it stands while nobody changes the queue.
    """
    with turn(places.runs_folder()):
        folder = _free(upload_id, held)
        gone = folder.with_name(f".{folder.name}.gone")
        try:
            folder.rename(gone)
        except OSError as error:
            raise NarratorError(f"{folder} cannot be deleted ({error.strerror}). Check its permissions.") from None
    shutil.rmtree(gone, ignore_errors=True)
    return f"The upload of {title(folder.name)} is deleted."


def held_by(state: dict[str, Any] | None) -> str | None:
    """The upload that a form's state holds, if it holds one."""
    source = state["source"] if state else None
    parts = Path(source.data[0]["path"]).parts if source is not None and source.data else ()
    return parts[1] if len(parts) > 1 and parts[0] == places.UPLOADS else None


def _free(upload_id: str | None, held: str | None) -> Path:
    folder = _home() / (upload_id or "-")
    if not NAME.fullmatch(upload_id or "") or not folder.is_dir():
        raise NarratorError("This upload is not there any more. Choose another one.")
    if upload_id == held:
        raise NarratorError("The form holds this upload now. Clear it there, then delete it.")
    needed = _runs(folder.name, _needed())
    if needed:
        raise NarratorError(f"{views.title(needed[0])} needs this upload. Remove that run first.")
    return folder


def _home() -> Path:
    return places.upload_place()[1]


def _needed() -> list[tuple[str, str]]:
    """(id, configuration as text) of each run that may still read its data."""
    found = []
    for job in list_jobs(places.runs_folder()):
        if job.state != "done":
            with contextlib.suppress(OSError):  # removed meanwhile
                found.append((job.id, (job.folder / CONFIG).read_text(encoding="utf-8", errors="replace")))
    return found


def _runs(upload_id: str, needed: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(run for run, text in needed if upload_id in text)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size if path.is_file() else 0
    return total
