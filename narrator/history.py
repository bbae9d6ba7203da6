"""Finished narrations, kept for their owner with their pictures and, where they were spoken, their sound; and, beside
them, what else is kept: votes and corrections (KINDS).

A folder holds `rows/` (a JSON file for each narration, named so that they sort by time), `pictures/` (small JPEGs with
nothing but the pixels) and `sounds/`. Each file belongs to one narration alone and goes with it. Of more than the most
that an owner may keep the oldest go; of sounds, which are large, only the newest stay.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.corrections import Corrections, corrections_of
from narrator.files import write_whole
from narrator.keeping import CHANGING, Page, Shelf, holds, jpeg, page, shelf, stamp, written
from narrator.records import Narration, NarratorError
from narrator.votes import Votes, votes_of

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PICTURES = 8  # of a narration
LONG_SIDE = 1024  # pixels: a larger picture is made smaller before it is kept
SOUNDS, SOUNDS_OF_A_VISITOR = 500, 50  # a sentence is about 0.2 MB
MAX_SOUND = 10 * 2**20  # bytes: a longer sound is not kept
_TEXTS = ("id", "created", "variant_id", "prompt", "text")
_NUMBERS = ("tokens", "first_token_s", "total_s")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A narration that was kept, with the pictures and the sound that are still there."""

    id: str  # of the entry; sorts by time
    narration: Narration
    pictures: tuple[Path, ...] = ()
    sound: Path | None = None


def history_of(visitor: str = "") -> History:
    """The narrations of whoever uses this machine alone (""), or of a visitor, known by a secret of their browser."""
    return History(shelf("narrations", visitor))


class History:
    """The narrations on a shelf."""

    def __init__(self, kept: Shelf) -> None:
        self.shelf, self.folder = kept, kept.folder
        self.pictures, self.sounds = kept.folder / "pictures", kept.folder / "sounds"

    def count(self) -> int:
        """How many there are, damaged ones included."""
        return self.shelf.count()

    def page(self, start: int, count: int, words: str = "") -> Page[Entry]:
        """Some, the newest first: of those that hold all the words (in text, prompt, label or variant), where there are
        any. Without words only these are read, however many there are."""
        return page(self.shelf.names(), self._read, start, count,
                    (lambda one: holds(words, *_words(one))) if words.strip() else None)

    def find(self, entry_id: str) -> Entry:
        """One. Raises NarratorError where it is not there, or damaged (BadRow where it is no JSON)."""
        self.shelf.place(entry_id)
        return self._read(entry_id)

    def file(self, narration: Narration, pictures: Sequence[Image] = ()) -> str:
        """Keep a finished narration; its id here. Raises NarratorError when it cannot be written; what was kept before
        stays, except that the oldest make room."""
        name, _ = stamp()
        files = {self.pictures / f"{name}-{number}.jpg": jpeg(picture, LONG_SIDE)
                 for number, picture in enumerate(pictures[:MOST_PICTURES], start=1)}
        row = {**dataclasses.asdict(narration), "pictures": [path.name for path in files]}
        with written("The narration was not kept in the history"):
            self.shelf.put(name, row, files)
            with CHANGING:
                for old in self.shelf.names()[self.shelf.most:]:
                    self._remove(old)
        return name

    def add_sound(self, entry_id: str, sound: Path) -> None:
        """Keep the WAV file in which an entry was spoken, in place of an older one; one over MAX_SOUND is left out.
        Raises NarratorError where there is no such entry, and when it cannot be written."""
        with CHANGING, written("The sound was not kept in the history"):
            self.shelf.place(entry_id)
            if sound.stat().st_size > MAX_SOUND:
                return
            self.sounds.mkdir(mode=0o700, exist_ok=True)
            write_whole(self.sounds / f"{entry_id}.wav", sound.read_bytes())
            most = SOUNDS_OF_A_VISITOR if self.shelf.shared else SOUNDS
            for old in sorted(self.sounds.glob("[!.]*.wav"), reverse=True)[most:]:
                old.unlink(missing_ok=True)

    def delete(self, entry_id: str) -> None:
        """Delete one with its pictures and its sound, damaged or not. Raises NarratorError where there is none of that
        id."""
        with CHANGING, written("The narration was not deleted"):
            self.shelf.place(entry_id)
            self._remove(entry_id)

    def clear(self) -> None:
        """Delete all, damaged ones included."""
        with CHANGING, written("The history was not deleted"):
            self.shelf.clear()

    def pack(self, archive: Path) -> Iterator[tuple[int, int]]:
        """Write a zip with narrations.jsonl, pictures/ and sounds/; (done, total) after each narration. Raises
        NarratorError where there are none, and when it cannot be written."""
        kept = self.page(0, self.shelf.most)
        if not kept.rows:
            raise NarratorError(" ".join(["There are no narrations to export.", *kept.problems]))
        with written("No zip was made", "free some space"), zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            lines = "".join(json.dumps(as_row(entry), ensure_ascii=False) + "\n" for entry in kept.rows)
            file.writestr("history/narrations.jsonl", lines.encode(errors="replace"))
            for number, entry in enumerate(kept.rows, start=1):
                for path in (*entry.pictures, *filter(None, [entry.sound])):
                    if path.is_file():  # deleted meanwhile
                        file.write(path, f"history/{path.parent.name}/{path.name}", zipfile.ZIP_STORED)
                yield number, len(kept.rows)

    def _remove(self, name: str) -> None:
        """The row goes last: what is left of a deletion that was cut short can be deleted again."""
        pictures = [self.pictures / f"{name}-{number + 1}.jpg" for number in range(MOST_PICTURES)]
        for path in (*pictures, self.sounds / f"{name}.wav"):
            path.unlink(missing_ok=True)
        (self.shelf.rows / f"{name}.json").unlink(missing_ok=True)

    def _read(self, name: str) -> Entry:
        """One row. Raises NarratorError or BadRow when it is damaged."""
        values = self.shelf.load(name, _TEXTS)
        named = values.pop("pictures", [])
        sound = self.sounds / f"{name}.wav"
        # Named anew, not as the row has it: a row that was tampered with names no other file.
        pictures = [self.pictures / f"{name}-{number + 1}.jpg" for number in range(min(_length(named), MOST_PICTURES))]
        return Entry(id=name, narration=self._narration(name, values), sound=sound if sound.is_file() else None,
                     pictures=tuple(path for path in pictures if path.is_file()))

    def _narration(self, name: str, values: dict[str, Any]) -> Narration:
        known = {field.name for field in dataclasses.fields(Narration)}
        numbers = all(_is_number(values.get(one)) for one in _NUMBERS)
        others = all(values.get(one) is None or _is_number(values[one]) for one in ("confidence", "probability"))
        texts = all(values.get(one) is None or isinstance(values[one], str) for one in ("label", "image_sha256"))
        if not (numbers and others and texts and isinstance(values.get("settings"), dict)):
            raise self.shelf.damaged(name)
        try:
            return Narration(**{key: _frozen(value) for key, value in values.items() if key in known})
        except TypeError:  # a field is missing
            raise self.shelf.damaged(name) from None


def store_of(kind: str, visitor: str = "") -> Store:
    """What is kept of one of KINDS. Raises KeyError for another."""
    return KINDS[kind](visitor)


def packing(store: Store, archive: Path) -> Iterator[tuple[int, int]]:
    """Write a zip of all, (done, total) on the way. Raises NarratorError as their `pack` does."""
    if isinstance(store, History):
        yield from store.pack(archive)
        return
    count = len(store.pack(archive).votes if isinstance(store, Votes) else store.pack(archive).corrections)
    yield count, count


def as_row(entry: Entry) -> dict[str, Any]:
    """An entry for programs: the fields of the narration, and the names of its files in the zip."""
    return {**dataclasses.asdict(entry.narration), "entry": entry.id,
            "pictures": [f"pictures/{path.name}" for path in entry.pictures],
            "audio": f"sounds/{entry.sound.name}" if entry.sound else None}


Store = History | Votes | Corrections
KINDS: dict[str, Callable[[str], Store]] = {"narrations": history_of, "votes": votes_of, "corrections": corrections_of}


def _words(entry: Entry) -> tuple[str, ...]:
    return (entry.narration.text, entry.narration.prompt, entry.narration.variant_id, entry.narration.label or "")


def _frozen(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
