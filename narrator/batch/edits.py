"""Texts of a batch that a person has put right: laid over its rows, which stay as the model wrote them, and undone one
after the other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from narrator.batch.alt_text import MOST
from narrator.batch.plan import Row
from narrator.files import write_whole
from narrator.keeping import CHANGING, written
from narrator.records import NarratorError
from narrator.rows import BadRow, check_text

FILE = "edits.json"
MAX_TEXT = 4000  # characters of a long description


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit:
    """Both texts of a row, as a person wants them. audio: they as a sound, relative to the folder of the result."""

    position: int
    alt: str
    long: str
    audio: str | None = None


class Edits:
    """The edits in a batch's folder, in the order in which they were made. Raises NarratorError when the file is
    damaged or cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def all(self) -> list[Edit]:
        """The oldest first; of a row the last one counts."""
        try:
            return [Edit(**values) for values in json.loads(self.path.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError):
            raise NarratorError(f"{self.path} is damaged: delete it, and the texts are as the model wrote "
                                "them.") from None

    def add(self, edit: Edit) -> None:
        with CHANGING:
            self._write([*self.all(), edit])

    def undo(self) -> Edit:
        """Take the last edit back; it is returned. Raises NarratorError where there is none."""
        with CHANGING:
            made = self.all()
            if not made:
                raise NarratorError("There is no change to undo.")
            self._write(made[:-1])
            return made[-1]

    def over(self, rows: Iterable[Row]) -> EditedRows:
        """The rows with the edits as they are now, as often as they are asked for."""
        return EditedRows(rows, {edit.position: edit for edit in self.all()})

    def _write(self, edits: list[Edit]) -> None:
        with written("The text was not kept"):
            write_whole(self.path, json.dumps([dataclasses.asdict(edit) for edit in edits]) + "\n")


@dataclasses.dataclass(frozen=True)
class EditedRows:
    """Rows with the texts of a person. A row with a text written by hand has no error any more."""

    rows: Iterable[Row]
    edits: dict[int, Edit]

    def __iter__(self) -> Iterator[Row]:
        return map(self.edited, self.rows)

    def edited(self, row: Row) -> Row:
        edit = self.edits.get(row.position)
        if edit is None:
            return row
        return dataclasses.replace(row, text=edit.long, alt=edit.alt, long=edit.long, audio=edit.audio, error=None,
                                   confidence=None)


def checked(position: int, alt: str, long: str) -> Edit:
    """Two texts as a person wrote them, with single spaces. Raises NarratorError for what is empty or too long."""
    texts = []
    for name, text, most in (("alternative text", alt, MOST), ("long description", long, MAX_TEXT)):
        try:
            text = check_text(text, f"the {name}", "The text was not kept")
        except BadRow as error:
            raise NarratorError(f"{error}. Write what the picture shows.") from None
        if len(text) > most:
            raise NarratorError(f"The {name} has {len(text):,} characters; shorten it to {most:,}.")
        texts.append(text)
    return Edit(position=position, alt=texts[0], long=texts[1])
