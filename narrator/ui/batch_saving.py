"""A batch as a file to save: in any format, with the texts that a person has put right, or all of it in a zip."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from narrator.batch import FORMATS, BatchPlan, Row, write_rows
from narrator.batch.edits import Edits
from narrator.batch.jobs import Batch, Batches
from narrator.batch.rows import every_row, page_of
from narrator.keeping import written
from narrator.records import NarratorError
from narrator.turns import Stopped
from narrator.ui.batch_handlers import sound_of
from narrator.ui.visitors import owner
from narrator.uploads import new_export

ALL = "zip"  # everything: each format, the pictures and the sounds
NAME = "descriptions"
LOOK_S = 0.2
STORED = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".zip")  # packing these once more makes them no smaller


@dataclasses.dataclass(frozen=True, kw_only=True)
class Saved:
    """How far a file is: a sentence, a share from 0 to 1, and the file once it is whole."""

    says: str
    share: float = 0.0
    path: Path | None = None


def choices() -> list[tuple[str, str]]:
    """(title, id) of what can be saved."""
    named = [(one.title[:1].upper() + one.title[1:], name) for name, one in FORMATS.items()]
    return [*named, ("All of it, with the pictures", ALL)]


async def saving(visitor: Any, batch_id: str | None, kind: str | None) -> AsyncIterator[Saved]:
    """Make a file, told as it comes; leaving the iterator ends it. Raises NarratorError."""
    batch = Batches(owner(visitor)).get(batch_id)
    if kind != ALL and kind not in FORMATS:
        raise NarratorError("Choose a format first.")
    work = _Work(batch, kind or "")
    made = asyncio.create_task(asyncio.to_thread(work.run))
    try:
        while not made.done():
            yield Saved(says=work.says, share=work.share)
            await asyncio.wait([made], timeout=LOOK_S)
        path = made.result()
        yield Saved(says=f"{path.name} is ready. Press Save the file.", share=1.0, path=path)
    finally:
        work.stop.set()


class _Work:
    """The making of one file, in a thread."""

    def __init__(self, batch: Batch, kind: str) -> None:
        self.batch, self.kind, self.stop = batch, kind, threading.Event()
        self.says, self.share = "Making the file …", 0.0
        self.total = max(1, page_of(batch, 0, 1).total)
        self.steps = len(FORMATS) + 1 if kind == ALL else 1

    def run(self) -> Path:
        """Raises NarratorError, Stopped among them."""
        rows = Edits(self.batch.folder).over(every_row(self.batch))
        with written("The file was not made", "free some space"), \
                tempfile.TemporaryDirectory(prefix=".export-", dir=self.batch.folder) as named:
            place = Path(named)
            for step, name in enumerate(FORMATS if self.kind == ALL else (self.kind,)):
                self._write(rows, name, place, step)
            single = [path for path in place.iterdir() if path.is_file()]
            if self.kind != ALL and len(list(place.iterdir())) == 1 and single:
                with new_export(single[0].name) as out:
                    shutil.copyfile(single[0], out)
                return out
            with new_export(f"{NAME}.zip") as out:
                self._pack(place, rows, out)
            return out

    def _write(self, rows: Iterable[Row], name: str, place: Path, step: int) -> None:
        one = FORMATS[name]
        plan = dataclasses.replace(self.batch.plan(), format=name, out=place / f"{NAME}{one.suffix}")
        self._link_sounds(rows, plan)
        self.says = f"Making the file: {one.title} …"
        if name == "sidecar":
            (place / NAME).mkdir(exist_ok=True)
        write_rows(_Watched(rows, self, step), plan)
        shutil.rmtree(plan.home, ignore_errors=True)

    def _link_sounds(self, rows: Iterable[Row], plan: BatchPlan) -> None:
        """The sounds where a writer looks for them."""
        if not plan.speak:
            return
        folder = plan.home / "sounds"
        folder.mkdir(parents=True)
        for row in rows:
            sound = sound_of(self.batch, row)
            if sound is not None and not (folder / sound.name).exists():
                try:
                    os.link(sound, folder / sound.name)
                except OSError:
                    shutil.copyfile(sound, folder / sound.name)

    def _pack(self, place: Path, rows: Iterable[Row], out: Path) -> None:
        self.says = f"Packing {out.name} …"
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(place.rglob("*")):
                if path.is_file():
                    self._add(packed, path, path.relative_to(place).as_posix())
            if self.kind == ALL:
                for row in _Watched(rows, self, self.steps - 1):
                    with contextlib.suppress(FileNotFoundError):
                        self._add(packed, Path(row.file), f"pictures/{row.path}")

    def _add(self, packed: zipfile.ZipFile, path: Path, name: str) -> None:
        if self.stop.is_set():
            raise Stopped
        kind = zipfile.ZIP_STORED if path.suffix.lower() in STORED else zipfile.ZIP_DEFLATED
        packed.write(path, name.encode(errors="replace").decode(), kind)


@dataclasses.dataclass(frozen=True)
class _Watched:
    """Rows whose passing by is told, and which end when nobody waits for them any more."""

    rows: Iterable[Row]
    work: _Work
    step: int

    def __iter__(self) -> Iterator[Row]:
        for number, row in enumerate(self.rows):
            if self.work.stop.is_set():
                raise Stopped
            share = (self.step + number / self.work.total) / self.work.steps
            self.work.share = max(self.work.share, share)  # some writers go through the rows more than once
            yield row
