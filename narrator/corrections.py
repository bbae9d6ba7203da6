"""Descriptions that a person has put right, kept with their pictures: a list for its owner, data for a training.

A folder holds `rows/` (a JSON file for each correction), `pictures/` (a JPEG for each picture, named by the SHA-256 of
its pixels, without anything else that a camera writes into a file) and `captions.jsonl`, which is made of them anew at
each change and is what a training reads. The newest correction of a picture (and prompt) counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.files import write_together, write_whole
from narrator.records import NarratorError
from narrator.rows import BadRow, check_text, load_json

if TYPE_CHECKING:
    from PIL.Image import Image

HISTORY = Path(__file__).resolve().parent.parent / "history"
DATA = "captions.jsonl"
HELD_OUT = 0.25  # of the pictures
LONG_SIDE = 2048  # pixels: a larger picture is made smaller before it is kept
MAX_TEXT = 4000  # characters
MOST = 10_000  # corrections of an owner
FORGOTTEN_S = 30 * 24 * 3600  # seconds: how long the corrections of a visitor stay after the last one
_TEXTS = ("before", "after", "variant", "prompt", "time", "sha256")
_CHANGING = threading.RLock()  # the list and what is made of it change together


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


def history_folder() -> Path:
    """NARRATOR_HISTORY, else `history/` of the project."""
    named = os.environ.get("NARRATOR_HISTORY", "")
    return Path(named).expanduser() if named else HISTORY


def corrections_of(visitor: str = "") -> Corrections:
    """The corrections of whoever uses this machine alone (""), or of a visitor, known by a secret of their browser."""
    if not visitor:
        return Corrections(history_folder() / "corrections")
    owner = hashlib.sha256(visitor.encode()).hexdigest()[:32]  # whoever sees the folder learns no secret
    return Corrections(history_folder() / "visitors" / owner / "corrections")


def sweep_visitors() -> None:
    """Delete what visitors have left alone for FORGOTTEN_S."""
    with contextlib.suppress(OSError):
        for folder in (history_folder() / "visitors").iterdir():
            rows = folder / "corrections" / "rows"
            if (rows if rows.is_dir() else folder).stat().st_mtime < time.time() - FORGOTTEN_S:
                shutil.rmtree(folder, ignore_errors=True)


class Corrections:
    """The corrections in a folder, which is made when the first one is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows, self.pictures = folder, folder / "rows", folder / "pictures"

    def count(self) -> int:
        """How many there are, damaged ones included."""
        return sum(1 for _ in self._files())

    def all(self) -> Kept:
        """All that can be read. Nothing is changed."""
        found, problems = [], []
        for path in self._files():
            try:
                found.append(self._read(path))
            except (NarratorError, BadRow) as error:
                problems.append(str(error))
        found.sort(key=lambda one: (one.time, one.id), reverse=True)
        return Kept(corrections=tuple(found), problems=tuple(problems))

    def keep(self, picture: Image, *, before: str, after: str, variant: str, prompt: str = "") -> Correction:
        """Keep a correction. Raises NarratorError for a text that is none, is unchanged or too long, and when it cannot
        be written; what was kept before stays as it was."""
        from narrator.pictures import picture_sha256

        after, sha256 = _checked(after), picture_sha256(picture)
        if after == " ".join(before.split()):
            raise NarratorError("The description is unchanged: edit it first.")
        asked = hashlib.sha256(f"{sha256}\n{prompt}".encode(errors="replace")).hexdigest()
        made = Correction(id=asked[:16], picture=self.pictures / f"{sha256}.jpg", sha256=sha256, before=before,
                          after=after, variant=variant, prompt=prompt,
                          time=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"))
        with _CHANGING, _written("The correction was not kept"):
            others = [one for one in self.all().corrections if one.id != made.id]
            if len(others) >= MOST:
                raise NarratorError(f"There are {MOST:,} corrections already: export them, then delete some.")
            _private(self.rows)
            _private(self.pictures)
            seen = {} if made.picture.exists() else {made.picture: _jpeg(picture)}
            write_together({**seen, self.folder / DATA: _data([made, *others]),
                            self.rows / f"{made.id}.json": _json(_row(made))})
        return made

    def delete(self, correction_id: str) -> None:
        """Delete one, and its picture where no other row names it. Raises NarratorError where there is none of that
        id."""
        with _CHANGING, _written("The correction was not deleted"):
            kept = self.all().corrections
            gone = next((one for one in kept if one.id == correction_id), None)
            if gone is None:
                raise NarratorError("This correction is not there any more.")
            write_whole(self.folder / DATA, _data(one for one in kept if one is not gone))
            (self.rows / f"{gone.id}.json").unlink()
            # Damaged rows count, too: they may be mended.
            if not any(gone.sha256.encode() in path.read_bytes() for path in self._files()):
                gone.picture.unlink(missing_ok=True)
            if not self.count():
                shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Delete all, damaged ones included."""
        with _CHANGING, _written("The corrections were not deleted"):
            if self.folder.exists():
                shutil.rmtree(self.folder)

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
            with _written(f"Nothing was exported to {into}", "free some space, or choose another folder"):
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
        with _written("No zip was made", "free some space"), zipfile.ZipFile(archive, "w") as file:
            file.writestr(f"corrections/{DATA}", _data(kept.corrections, held_out))
            for path in sorted({one.picture for one in kept.corrections}):
                file.write(path, f"corrections/pictures/{path.name}")
        return kept

    def _some(self) -> Kept:
        kept = self.all()
        if not kept.corrections:
            raise NarratorError(" ".join(["There are no corrections to export.", *kept.problems]))
        return kept

    def _files(self) -> Iterator[Path]:
        return (path for path in self.rows.glob("*.json") if not path.name.startswith("."))

    def _read(self, path: Path) -> Correction:
        """One row. Raises NarratorError or BadRow when it or its picture is damaged."""
        try:
            values = load_json(path.read_bytes(), str(path))
        except OSError as error:
            raise NarratorError(f"{path} cannot be read ({error.strerror}).") from None
        if not isinstance(values, dict) or not all(isinstance(values.get(name), str) for name in _TEXTS):
            raise NarratorError(f"{path} is damaged: delete it, or restore it.")
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


def _jpeg(picture: Image) -> bytes:
    from narrator.pictures import picture_bytes

    small = picture.convert("RGB")
    small.thumbnail((LONG_SIDE, LONG_SIDE))
    return picture_bytes(small, "JPEG")


def _data(corrections: Iterable[Correction], held_out: float = HELD_OUT) -> bytes:
    """JSON lines as a training reads them."""
    corrections = sorted(corrections, key=lambda one: (one.time, one.id))
    splits = split_of({one.sha256 for one in corrections}, held_out)
    rows: list[dict[str, Any]] = [
        {"image": f"pictures/{one.picture.name}", "captions": [one.after], "split": splits[one.sha256],
         **({"prompt": one.prompt} if one.prompt else {}), "before": one.before, "variant": one.variant,
         "time": one.time} for one in corrections]
    return b"".join(_json(row) for row in rows)


def _json(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode(errors="replace")  # halves of a sign, from a browser


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


def _private(folder: Path) -> None:
    """Make a folder that only its owner may look into."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in (folder, folder.parent):
        with contextlib.suppress(OSError):  # a file system without permissions
            part.chmod(0o700)


@contextlib.contextmanager
def _written(what: str, remedy: str = "free some space, or set NARRATOR_HISTORY to a folder that can be written to"
             ) -> Iterator[None]:
    """What the system says of a full or locked disk, in a sentence."""
    try:
        yield
    except OSError as error:
        raise NarratorError(f"{what} ({error.strerror or error}): {remedy}, then try again. What was kept before is "
                            "unchanged.") from error
