"""The batches of the page: each in a folder of its owner's, described by a process of its own that outlives the page.

A batch is a row on its owner's shelf (what was asked, which never changes) and a folder `work/<id>` beside the rows,
with the pictures and what the process leaves: its id, how far it is, its log, its rows. State is read from there, never
held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

import narrator
from narrator.batch.plan import BatchPlan
from narrator.files import write_whole
from narrator.keeping import CHANGING, Shelf, history_folder, readable, shelf, stamp, written
from narrator.knobs import build
from narrator.processes import reap, record, recorded, spawn
from narrator.records import NarratorError
from narrator.settings import GenerationSettings

PROJECT = Path(narrator.__file__).resolve().parent.parent  # where `python -m narrator.batch.job` is found
KIND, WORK, JOURNAL = "batches", "work", "rows.sqlite"
PICTURES, RESULT, OUT = "pictures", "result", "descriptions.jsonl"
PROCESS, PROGRESS, STOP, LOG = "process.json", "progress.json", "stop", "log.txt"
TURN = ".batches.lock"  # beside everybody's: one batch at a time holds the machine's memory
MOST_OF_A_VISITOR = 20  # batches
KEPT_S = 7 * 24 * 3600  # seconds: how long a visitor's batch is kept
BOTH = "both"  # alternative texts and long descriptions
LIVE = ("waiting", "running", "stopping")
_TEXTS = ("title", "created", "variant", "prompt", "audience", "format")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked. left_out: (name, reason) of files that are no pictures."""

    title: str
    variant: str  # id
    prompt: str = ""
    settings: GenerationSettings = dataclasses.field(default_factory=GenerationSettings)
    audience: str = "long"  # "alt", "long" or BOTH
    format: str = "jsonl"
    speak: bool = False
    voice: str | None = None
    pictures: int = 0
    left_out: tuple[tuple[str, str], ...] = ()
    created: str = ""  # UTC, ISO 8601


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as it stands. state: waiting (for another one), running, stopping, done, stopped, failed or interrupted.

    done, failed, duplicates: pictures; total: None while it is not known; left_s: seconds, None where nobody can tell.
    """

    id: str
    folder: Path
    wish: Wish
    state: str
    done: int = 0
    failed: int = 0
    duplicates: int = 0
    total: int | None = None
    seconds: float = 0.0
    left_s: float | None = None
    says: str = ""  # what it does now, or why it failed

    @property
    def live(self) -> bool:
        return self.state in LIVE

    def plan(self, *, resume: bool = False) -> BatchPlan:
        """What the process runs, and where its rows are."""
        wish = self.wish
        return BatchPlan(sources=(str(self.folder / PICTURES),), within=self.folder / PICTURES, variant=wish.variant,
                         prompt=wish.prompt, settings=wish.settings, out=self.folder / RESULT / OUT, format="jsonl",
                         existing="overwrite", resume=resume, speak=wish.speak, voice=wish.voice,
                         audience="alt" if wish.audience == "alt" else "long",
                         rows_kept=self.folder / RESULT / JOURNAL)


class Batches:
    """The batches of an owner: of whoever uses this machine alone (""), or of a visitor."""

    def __init__(self, visitor: str = "") -> None:
        self.shelf: Shelf = shelf(KIND, visitor)

    def all(self) -> list[Batch]:
        """Those that can be read, the newest first."""
        return readable(self.shelf.names(), self.get)[0]

    def get(self, batch_id: str | None) -> Batch:
        """One of them as it stands. Raises NarratorError where there is none of that id, or it is damaged."""
        try:
            self.shelf.place(batch_id or "")
        except NarratorError:
            raise NarratorError("This batch is not there any more. Choose another one.") from None
        values = self.shelf.load(batch_id or "", _TEXTS)
        folder = self.shelf.folder / WORK / (batch_id or "")
        try:
            wish = Wish(**{**values, "settings": build(GenerationSettings, values["settings"], "Settings"),
                           "left_out": tuple((str(name), str(why)) for name, why in values["left_out"])})
        except (TypeError, ValueError, KeyError, AttributeError):
            raise self.shelf.damaged(batch_id or "") from None
        return _standing(batch_id or "", folder, wish)

    def begin(self, wish: Wish, pictures: Path) -> Batch:
        """Keep a batch of the pictures in a folder, which stays as it is, and start its process.

        Raises NarratorError when it cannot be kept, and where a visitor has too many.
        """
        if self.shelf.shared:
            self._sweep()
            if self.shelf.count() >= MOST_OF_A_VISITOR:
                raise NarratorError(f"You have {MOST_OF_A_VISITOR} batches already: save what you need, then delete "
                                    "some.")
        name, created = stamp()
        wish = dataclasses.replace(wish, created=created)
        folder = self.shelf.folder / WORK / name
        with written("The batch was not begun"), contextlib.ExitStack() as undo:
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            self.shelf.put(name, dataclasses.asdict(wish))
            undo.callback((self.shelf.rows / f"{name}.json").unlink, missing_ok=True)
            (folder / RESULT).mkdir(parents=True)
            shutil.copytree(pictures, folder / PICTURES, copy_function=_link)
            self._spawn(folder)
            undo.pop_all()
        return self.get(name)

    def resume(self, batch_id: str | None) -> Batch:
        """Let a batch that has ended go on. Raises NarratorError for one that runs, and when it cannot be started."""
        batch = self.get(batch_id)
        if batch.live:
            raise NarratorError(f"{batch.wish.title} is under way already.")
        with written("The batch does not go on"):
            (batch.folder / STOP).unlink(missing_ok=True)
            tell(batch.folder, state="waiting", says="Starting …", done=batch.done, failed=batch.failed,
                 duplicates=batch.duplicates, total=batch.total)
            self._spawn(batch.folder)
        return self.get(batch_id)

    def stop(self, batch_id: str | None) -> Batch:
        """Ask a batch to stop; asked once more, it is ended at once. What it has described stays."""
        batch = self.get(batch_id)
        if not batch.live:
            raise NarratorError(f"{batch.wish.title} is not under way: there is nothing to cancel.")
        if batch.state == "stopping":
            end(batch.folder)
        else:
            with written("The batch was not asked to stop"):
                (batch.folder / STOP).touch()
        return self.get(batch_id)

    def remove(self, batch_id: str | None) -> None:
        """Delete a batch with its pictures and texts, whatever it is doing."""
        with contextlib.suppress(NarratorError):
            self.get(batch_id)  # a damaged one can be deleted, too
        row = self.shelf.place(batch_id or "")
        folder = self.shelf.folder / WORK / (batch_id or "")
        end(folder)
        with CHANGING, written("The batch was not deleted"):
            row.unlink()
            shutil.rmtree(folder, ignore_errors=True)

    def _spawn(self, folder: Path) -> None:
        process = spawn([sys.executable, "-m", "narrator.batch.job", str(folder.absolute()),
                         str(history_folder().absolute() / TURN)], folder / LOG, PROJECT)
        with contextlib.suppress(psutil.Error):  # it may be over already
            record(folder / PROCESS, process.pid)
        reap(process)

    def _sweep(self) -> None:
        """Delete what is too old."""
        for name in self.shelf.names():
            path = self.shelf.rows / f"{name}.json"
            with contextlib.suppress(OSError, NarratorError):
                if path.stat().st_mtime < time.time() - KEPT_S:
                    self.remove(name)


def tell(folder: Path, **values: Any) -> None:
    """How far the batch in this folder is: fields of `Batch`. Raises OSError when it cannot be written."""
    write_whole(folder / PROGRESS, json.dumps(values) + "\n")


def end(folder: Path) -> None:
    """End the batch's process and what it has started at once; what it has filed is whole."""
    pid, _ = recorded(folder / PROCESS)
    if pid is None:
        return
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(family, timeout=5)


def tail(folder: Path, most: int = 4000) -> str:
    """The end of the batch's log, in characters."""
    try:
        return (folder / LOG).read_text(encoding="utf-8", errors="replace")[-most:]
    except OSError:
        return ""


def _standing(name: str, folder: Path, wish: Wish) -> Batch:
    told = _told(folder)
    pid, _ = recorded(folder / PROCESS)
    state = str(told.pop("state", "waiting"))
    if state in LIVE:
        asked = (folder / STOP).exists()
        state = (("stopped" if asked else "interrupted") if pid is None else "stopping" if asked else state)
    told["total"] = told.get("total") or wish.pictures or None
    return Batch(id=name, folder=folder, wish=wish, state=state, **told)


def _told(folder: Path) -> dict[str, Any]:
    """What the process told last, fields that a Batch has alone."""
    known: Sequence[str] = ("state", "done", "failed", "duplicates", "total", "seconds", "left_s", "says")
    try:
        values = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: values[key] for key in known if key in values} if isinstance(values, Mapping) else {}


def _link(source: str, target: str) -> None:
    """A second name for a file where the disk knows such, else a copy."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
