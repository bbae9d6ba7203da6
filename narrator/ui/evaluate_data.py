"""What variants can be measured on: an upload, the visitor's own corrections, or a data set below the data root.

Each gives a `Given`. What was uploaded or exported lies below the upload folder for a day; an evaluation keeps a copy.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrator.archives import describe_upload
from narrator.corrections import DATA, corrections_of
from narrator.evaluation import look_at
from narrator.records import NarratorError
from narrator.ui.data_sets import data_root, data_sets
from narrator.ui.limits import alone
from narrator.ui.visitors import owner
from narrator.uploads import new_data

UPLOAD, CORRECTIONS, SETS = "upload", "corrections", "sets"
TITLES = {UPLOAD: "Upload pictures with texts", CORRECTIONS: "My corrections on Narrate",
          SETS: "A data set of this machine"}
EVERYTHING = ""  # the choice of rows that leaves none out
HELD_OUT = ("dev", "val", "validation", "test")  # what a split that was not learned from is called
NEEDED = ("There is nothing to measure on yet. Upload a zip of pictures with texts, or choose other data, then press "
          "again.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """Data as it was found. name: what a person sees; keep: whether it goes away and has to be copied; splits: (title,
    name) of the rows that can be chosen, EVERYTHING among them, the proposed one first; says: what was found."""

    path: Path
    name: str
    keep: bool
    splits: tuple[tuple[str, str], ...]
    says: str


def kinds() -> list[tuple[str, str]]:
    """(title, kind) of what this page offers. Data sets of the machine are no visitor's business on a shared page."""
    offered = [UPLOAD, CORRECTIONS, *([SETS] if alone() and data_sets() else [])]
    return [(TITLES[kind], kind) for kind in offered]


async def from_upload(files: Sequence[str]) -> Given:
    """Uploaded files, put where an evaluation can read them. Raises NarratorError for what is none of the formats."""
    paths = [Path(file) for file in files]
    if not paths:
        raise NarratorError(NEEDED)
    stop = threading.Event()

    def tell(done: int, total: int) -> None:
        if stop.is_set():
            raise NarratorError("The upload was left.")

    def take() -> Given:
        with new_data() as folder:
            found = describe_upload(paths, folder, tell)
            if found["kind"] == "classes":
                raise NarratorError("These pictures have classes and no texts. Upload pictures with captions; "
                                    "`python -m narrator evaluate` measures classes from JSON lines.")
            name = paths[0].name if len(paths) == 1 else f"{len(paths):,} uploaded files"
            return _given(Path(found["path"]), name, keep=True)
    try:
        return await asyncio.to_thread(take)
    finally:
        stop.set()


def from_corrections(visitor: Any) -> Given:
    """The corrections of this visitor as they are now, copied. Raises NarratorError when there are none."""
    kept = corrections_of(owner(visitor))
    if not kept.count():
        raise NarratorError("No correction has been kept yet. Edit a description on Narrate, keep it as a correction, "
                            "then come back.")
    with new_data() as folder:
        kept.export(folder, held_out=0.0)
        return _given(folder / DATA, "my corrections", keep=True, splits=False)


def from_set(name: str | None) -> Given:
    """A data set of the list, by its name there. Raises NarratorError for anything else, paths included."""
    if not alone() or name not in data_sets():
        raise NarratorError("This data set is not in the list. Choose another one.")
    return _given(data_root() / name, name, keep=False)


def _given(path: Path, name: str, *, keep: bool, splits: bool = True) -> Given:
    """Raises NarratorError where nothing of it can be used."""
    try:
        found = look_at(path, inside=keep)
    except NarratorError as error:
        raise NarratorError(str(error).replace(f"{path.parent}{os.sep}", "")) from None
    count = f"{found.rows:,} {_noun(found.rows, found.what)}"
    bad = f" {found.bad_rows:,} {_noun(found.bad_rows, 'rows')} cannot be used." if found.bad_rows else ""
    chosen = [(f"All, {found.rows:,}", EVERYTHING)]
    if splits and len(found.splits) > 1:
        held = [split for split in HELD_OUT if split in found.splits]
        rest = [split for split in found.splits if split and split not in held]
        named = [(f"{split}, {found.splits[split]:,}", split) for split in [*held, *rest]]
        chosen = named[:len(held)] + chosen + named[len(held):]
    return Given(path=path, name=name, keep=keep, splits=tuple(chosen), says=f"{count} in {name}.{bad}")


def _noun(count: int, what: str) -> str:
    return what.removesuffix("s") if count == 1 else what
