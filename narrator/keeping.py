"""What is kept for its owner: a folder for each kind of thing and in it a JSON file for each thing, private, whole or
not at all.

Below `history_folder()` lie the things of whoever uses this machine alone; those of a visitor of a shared page lie
below `visitors/`, in a folder named by the hash of a secret that only their browser keeps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from narrator.files import write_together
from narrator.records import NarratorError
from narrator.rows import BadRow, load_json

if TYPE_CHECKING:
    from PIL.Image import Image

HISTORY = Path(__file__).resolve().parent.parent / "history"
MOST = 10_000  # things of a kind
MOST_OF_A_VISITOR = 200
FORGOTTEN_S = 30 * 24 * 3600  # seconds: how long what is a visitor's stays after the last of it
SWEEP_S = 3600.0  # seconds between two looks for what visitors have left
ROOM = 2**30  # bytes of the disk that visitors cannot fill
CHANGING = threading.RLock()  # what is kept and what is made of it change together
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
_T = TypeVar("_T")
_swept = -SWEEP_S  # on the clock of time.monotonic


def history_folder() -> Path:
    """NARRATOR_HISTORY, else `history/` of the project."""
    named = os.environ.get("NARRATOR_HISTORY", "")
    return Path(named).expanduser() if named else HISTORY


def keeps_nothing() -> bool:
    """Whether NARRATOR_KEEP_NOTHING is set: for servers whose disk is read-only, or that shall know nobody."""
    return os.environ.get("NARRATOR_KEEP_NOTHING", "").strip().lower() not in ("", "0", "no", "off", "false")


def shelf(kind: str, visitor: str = "") -> Shelf:
    """Where things of a kind are kept for whoever uses this machine alone (""), or for a visitor, known by a secret of
    their browser."""
    if not visitor:
        return Shelf(history_folder() / kind)
    owner = hashlib.sha256(visitor.encode()).hexdigest()[:32]  # whoever sees the folder learns no secret
    return Shelf(history_folder() / "visitors" / owner / kind, shared=True)


def sweep_visitors() -> None:
    """Delete what visitors have left alone for FORGOTTEN_S."""
    with contextlib.suppress(OSError):
        for folder in (history_folder() / "visitors").iterdir():
            kept = [kind / "rows" if (kind / "rows").is_dir() else kind for kind in folder.iterdir() if kind.is_dir()]
            if max(path.stat().st_mtime for path in kept or [folder]) < time.time() - FORGOTTEN_S:
                shutil.rmtree(folder, ignore_errors=True)


def stamp() -> tuple[str, str]:
    """(a name that no other thing has, and that sorts by time; the time: UTC, ISO 8601, milliseconds)."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}", now.isoformat(timespec="milliseconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page(Generic[_T]):
    """Some of many, the newest first: `rows` of a `total`, from number `start` (0 is the newest), and a sentence for
    each file that had to be left out on the way."""

    rows: tuple[_T, ...]
    problems: tuple[str, ...]
    total: int
    start: int = 0


class Shelf:
    """A folder of rows, made when the first one is put there. Raises NarratorError for what cannot be written or is not
    there; what was there before stays then."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self.folder, self.rows, self.shared = folder, folder / "rows", shared

    @property
    def most(self) -> int:
        """How many its owner may keep."""
        return MOST_OF_A_VISITOR if self.shared else MOST

    def names(self) -> list[str]:
        """Of all rows, damaged ones included; those of `stamp` the newest first. Reads no row."""
        try:
            found = os.listdir(self.rows)
        except OSError:
            return []
        return sorted((name[:-5] for name in found if name.endswith(".json") and not name.startswith(".")),
                      reverse=True)

    def count(self) -> int:
        """How many rows there are, damaged ones included."""
        return len(self.names())

    def place(self, name: str) -> Path:
        """The file of a row. Raises NarratorError for what names none."""
        if not _NAME.fullmatch(name) or not (path := self.rows / f"{name}.json").is_file():
            raise NarratorError("This is not there any more.")
        return path

    def load(self, name: str, texts: Sequence[str]) -> dict[str, Any]:
        """A row, all of `texts` in it being texts. Raises NarratorError or BadRow where it is damaged."""
        path = self.rows / f"{name}.json"
        try:
            values = load_json(path.read_bytes(), str(path))
        except OSError as error:
            raise NarratorError(f"{path} cannot be read ({error.strerror}).") from None
        if not isinstance(values, dict) or not all(isinstance(values.get(text), str) for text in texts):
            raise self.damaged(name)
        return values

    def damaged(self, name: str) -> NarratorError:
        """What is said of a row that cannot be used."""
        return NarratorError(f"{self.rows / name}.json is damaged: delete it, or restore it.")

    def put(self, name: str, row: Mapping[str, Any], also: Mapping[Path, bytes] | None = None) -> None:
        """Write a row, after the files that belong to it."""
        if keeps_nothing():
            raise NarratorError("This server keeps nothing (NARRATOR_KEEP_NOTHING): save what you need yourself.")
        files = {**(also or {}), self.rows / f"{name}.json": as_json(row)}
        if self.shared:
            _sweep_now_and_then()
            self._leave_room()
        for folder in {self.folder, *(path.parent for path in files)}:
            _private(folder)
        write_together(files)

    def clear(self) -> None:
        """Delete all rows and what belongs to them, damaged ones included."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _leave_room(self) -> None:
        there = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if shutil.disk_usage(there).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def readable(names: Sequence[str], read: Callable[[str], _T]) -> tuple[list[_T], list[str]]:
    """(the rows that `read` can make of `names`, a sentence for each of the others)."""
    found, problems = [], []
    for name in names:
        try:
            found.append(read(name))
        except (NarratorError, BadRow) as error:
            problems.append(str(error))
    return found, problems


def page(names: Sequence[str], read: Callable[[str], _T], start: int, count: int,
         fits: Callable[[_T], bool] | None = None) -> Page[_T]:
    """`count` rows from `start`; only these are read. With `fits`, a search, all are, and those that fit count."""
    if fits is None:
        rows, problems = readable(names[start:start + count], read)
        return Page(rows=tuple(rows), problems=tuple(problems), total=len(names), start=start)
    found, problems = readable(names, read)
    fitting = [row for row in found if fits(row)]
    return Page(rows=tuple(fitting[start:start + count]), problems=tuple(problems), total=len(fitting), start=start)


def holds(words: str, *texts: str) -> bool:
    """Whether each of the words stands somewhere in the texts, capitals or not."""
    within = "\n".join(texts).casefold()
    return all(word in within for word in words.casefold().split())


def as_json(row: Mapping[str, Any]) -> bytes:
    """A line of JSON. Halves of a sign, as a browser may send them, become question marks."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode(errors="replace")


def jpeg(picture: Image, long_side: int) -> bytes:
    """The picture with nothing but its pixels, made smaller where a side is longer than `long_side` pixels."""
    from narrator.pictures import picture_bytes

    small = picture.convert("RGB")
    small.thumbnail((long_side, long_side))
    return picture_bytes(small, "JPEG")


@contextlib.contextmanager
def written(what: str, remedy: str = "free some space, or set NARRATOR_HISTORY to a folder that can be written to"
            ) -> Iterator[None]:
    """What the system says of a full or locked disk, in a sentence."""
    try:
        yield
    except OSError as error:
        raise NarratorError(f"{what} ({error.strerror or error}): {remedy}, then try again. What was kept before is "
                            "unchanged.") from error


def _private(folder: Path) -> None:
    """Make a folder that only its owner may look into."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # a file system without permissions
        folder.chmod(0o700)


def _sweep_now_and_then() -> None:
    global _swept
    if time.monotonic() - _swept > SWEEP_S:
        _swept = time.monotonic()
        sweep_visitors()
