"""Descriptions that a person has put right, kept with their pictures: a list for its owner, data for a training.

A folder holds `rows/` (a JSON file for each correction), `pictures/` (a JPEG for each picture, named by the SHA-256 of
its pixels, without anything else that a camera writes into a file) and `captions.jsonl`, which is made of them anew at
each change and is what a training reads. The newest correction of a picture (and prompt) counts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import uuid
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.files import write_whole
from narrator.keeping import CHANGING, Page, Shelf, as_json, holds, jpeg, readable, shelf, stamp, written
from narrator.records import NarratorError
from narrator.rows import BadRow, check_text

if TYPE_CHECKING:
    from PIL.Image import Image

DATA = "captions.jsonl"
HELD_OUT = 0.25  # of the pictures
LONG_SIDE = 2048  # pixels: a larger picture is made smaller before it is kept
MAX_TEXT = 4000  # characters
_TEXTS = ("before", "after", "variant", "prompt", "time", "sha256")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correction:
    """A description as a variant wrote it (`before`) and as a person wants it (`after`)."""

    id: str  # of the picture and the prompt
    picture: Path
    sha256: str  # of the picture's RGB pixels
    before: str
    after: str
    variant: str  # its id
    prompt: str
    time: str  # UTC, ISO 8601


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """All corrections of an owner, the newest first, and a sentence for each file that was left out."""

    corrections: tuple[Correction, ...]
    problems: tuple[str, ...]


def corrections_of(visitor: str = "") -> Corrections:
    """The corrections of whoever uses this machine alone (""), or of a visitor, known by a secret of their browser."""
    return Corrections(shelf("corrections", visitor))


class Corrections:
    """The corrections on a shelf."""

    def __init__(self, kept: Shelf) -> None:
        self.shelf, self.folder, self.rows, self.pictures = kept, kept.folder, kept.rows, kept.folder / "pictures"

    def count(self) -> int:
        """How many there are, damaged ones included."""
        return self.shelf.count()

    def all(self) -> Kept:
        """All that can be read. Nothing is changed."""
        found, problems = readable(self.shelf.names(), self._read)
        found.sort(key=lambda one: (one.time, one.id), reverse=True)
        return Kept(corrections=tuple(found), problems=tuple(problems))

    def page(self, start: int, count: int, words: str = "") -> Page[Correction]:
        """Some, the newest first: of those that hold all the words, where there are any."""
        kept = self.all()
        found = [one for one in kept.corrections if holds(words, one.before, one.after, one.prompt, one.variant)]
        return Page(rows=tuple(found[start:start + count]), problems=kept.problems, total=len(found), start=start)

    def keep(self, picture: Image, *, before: str, after: str, variant: str, prompt: str = "") -> Correction:
        """Keep a correction. Raises NarratorError for a text that is none, is unchanged or too long, and when it cannot
        be written; what was kept before stays as it was."""
        from narrator.pictures import picture_sha256

        after, sha256 = _checked(after), picture_sha256(picture)
        if after == " ".join(before.split()):
            raise NarratorError("The description is unchanged: edit it first.")
        asked = hashlib.sha256(f"{sha256}\n{prompt}".encode(errors="replace")).hexdigest()
        made = Correction(id=asked[:16], picture=self.pictures / f"{sha256}.jpg", sha256=sha256, before=before,
                          after=after, variant=variant, prompt=prompt, time=stamp()[1])
        with CHANGING, written("The correction was not kept"):
            others = [one for one in self.all().corrections if one.id != made.id]
            if len(others) >= self.shelf.most:
                raise NarratorError(f"You have {self.shelf.most:,} corrections already: export them, then delete some.")
            seen = {} if made.picture.exists() else {made.picture: jpeg(picture, LONG_SIDE)}
            self.shelf.put(made.id, _row(made), {**seen, self.folder / DATA: _data([made, *others])})
        return made

    def delete(self, correction_id: str) -> None:
        """Delete one, and its picture where no other row names it. Raises NarratorError where there is none of that
        id."""
        with CHANGING, written("The correction was not deleted"):
            kept = self.all().corrections
            gone = next((one for one in kept if one.id == correction_id), None)
            if gone is None:
                raise NarratorError("This correction is not there any more.")
            write_whole(self.folder / DATA, _data(one for one in kept if one is not gone))
            (self.rows / f"{gone.id}.json").unlink()
            # Damaged rows count, too: they may be mended.
            if not any(gone.sha256.encode() in path.read_bytes() for path in self.rows.glob("[!.]*.json")):
                gone.picture.unlink(missing_ok=True)
            if not self.count():
                shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Delete all, damaged ones included."""
        with CHANGING, written("The corrections were not deleted"):
            self.shelf.clear()

    def export(self, into: Path, held_out: float = HELD_OUT) -> Kept:
        """Copy all into a new folder that a training reads: whole, or not at all.

        held_out: share of the pictures for the split "dev", 0 to 0.9. Raises NarratorError where there are none, where
        `into` holds something already, and when it cannot be written.
        """
        kept = self._some()
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise NarratorError(f"{into} is there already: name a new folder.")
        part = into.absolute().with_name(f".{into.name}.{uuid.uuid4().hex}.part")
        try:
            with written(f"Nothing was exported to {into}", "free some space, or choose another folder"):
                (part / "pictures").mkdir(parents=True)
                for path in {one.picture for one in kept.corrections}:
                    shutil.copyfile(path, part / "pictures" / path.name)
                (part / DATA).write_bytes(_data(kept.corrections, held_out))
                part.replace(into)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return kept

    def pack(self, archive: Path, held_out: float = HELD_OUT) -> Kept:
        """The same as a zip file at `archive`."""
        kept = self._some()
        with written("No zip was made", "free some space"), zipfile.ZipFile(archive, "w") as file:
            file.writestr(f"corrections/{DATA}", _data(kept.corrections, held_out))
            for path in sorted({one.picture for one in kept.corrections}):
                file.write(path, f"corrections/pictures/{path.name}")
        return kept

    def _some(self) -> Kept:
        kept = self.all()
        if not kept.corrections:
            raise NarratorError(" ".join(["There are no corrections to export.", *kept.problems]))
        return kept

    def _read(self, name: str) -> Correction:
        """One row. Raises NarratorError or BadRow when it or its picture is damaged."""
        values, path = self.shelf.load(name, _TEXTS), self.rows / f"{name}.json"
        after = check_text(values["after"], "'after'", str(path))
        picture = self.pictures / f"{_safe(values['sha256'])}.jpg"
        if not picture.is_file():
            raise NarratorError(f"{path}: its picture {picture.name} is missing; delete the row, or restore it.")
        texts = {name: values[name] for name in _TEXTS}
        return Correction(id=path.stem, picture=picture, **{**texts, "after": after})


def _safe(sha256: str) -> str:
    """The hash, letters and digits alone: a row that was tampered with names no other file."""
    return "".join(sign for sign in sha256 if sign.isascii() and sign.isalnum())[:64]


def split_of(hashes: Iterable[str], held_out: float = HELD_OUT) -> dict[str, str]:
    """Picture -> "train" or "dev" by its hash (hexadecimal SHA-256), so that a picture stays where it is when others
    come; but of two pictures or more, one at least is in each."""
    places = {name: int(name[:8], 16) / 2**32 for name in hashes}  # even over 0..1
    splits = {name: "dev" if place < held_out else "train" for name, place in places.items()}
    if len(splits) > 1:
        if "dev" not in splits.values() and held_out > 0:
            splits[min(places, key=lambda name: places[name])] = "dev"
        if "train" not in splits.values():
            splits[max(places, key=lambda name: places[name])] = "train"
    return splits


def _data(corrections: Iterable[Correction], held_out: float = HELD_OUT) -> bytes:
    """JSON lines as a training reads them."""
    corrections = sorted(corrections, key=lambda one: (one.time, one.id))
    splits = split_of({one.sha256 for one in corrections}, held_out)
    rows: list[dict[str, Any]] = [
        {"image": f"pictures/{one.picture.name}", "captions": [one.after], "split": splits[one.sha256],
         **({"prompt": one.prompt} if one.prompt else {}), "before": one.before, "variant": one.variant,
         "time": one.time} for one in corrections]
    return b"".join(as_json(row) for row in rows)


def _row(one: Correction) -> dict[str, str]:
    return {name: str(getattr(one, name)) for name in _TEXTS}


def _checked(text: str) -> str:
    try:
        text = check_text(text, "the description", "The correction was not kept")
    except BadRow as error:
        raise NarratorError(f"{error}. Write what the picture shows.") from None
    if len(text) > MAX_TEXT:
        raise NarratorError(f"The description has {len(text):,} characters; shorten it to {MAX_TEXT:,}.")
    return text
