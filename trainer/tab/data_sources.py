"""What a training learns from: an upload, corrections kept on Narrate, a data set of the Hub, or what the preset says.

Each gives a `Source`: rows for the settings `data` and `dev`, and the folder that their paths are relative to.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from narrator.corrections import DATA, corrections_of
from narrator.records import NarratorError
from narrator.ui.limits import alone
from narrator.unpacking import nobody
from trainer.archives import describe_upload
from trainer.tab import places
from trainer.tab.children import run_trainer
from trainer.tab.fields import Draft
from trainer.tab.starting import OF_THE_HUB, start_from

UPLOAD, CORRECTIONS, HUB, PRESET = "upload", "corrections", "hub", "preset"
SOURCES = {UPLOAD: "Upload pictures with texts", CORRECTIONS: "Corrections kept on Narrate",
           HUB: "A data set of the Hugging Face Hub", PRESET: "As the recipe says"}
LISTED = "captions.jsonl"  # what `trainer prepare` writes
HELD_OUT = ("dev", "val", "validation", "test")  # what a held-out split is called
FEW, FEW_HELD_OUT, USUAL_HELD_OUT = 100, 0.25, 0.1  # below so many examples a larger share is held out
LOOK_S = 0.25  # between two looks at how far an upload is
NEEDED = ("There is nothing to learn from yet. Upload a zip, or pictures with their texts, then press again.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """data, dev: rows of these settings; root: the data root; says: what was found, in a sentence."""

    data: list[dict[str, Any]]
    dev: list[dict[str, Any]]
    root: Path
    says: str


async def from_upload(files: Sequence[str], tell: Callable[[int, int], None] = nobody) -> Source:
    """Uploaded files, kept below a data root and split by picture into what is learned from and what is held out.

    tell: hears of the bytes unpacked so far and in all, from the thread that unpacks. Cancelling the task ends that at
    its next megabyte, and leaves nothing. Raises NarratorError for what is none of the formats.
    """
    paths = [Path(file) for file in files]
    if not paths:
        raise NarratorError(NEEDED)
    root, folder = places.new_upload()
    stop, source = threading.Event(), None

    def heard(done: int, total: int) -> None:
        if stop.is_set():
            raise NarratorError("The upload was left.")
        tell(done, total)

    def look() -> dict[str, Any]:
        try:
            return describe_upload(paths, folder / "given", heard)
        finally:
            if stop.is_set():  # whoever waited for it is gone, and cannot tidy up before it has ended
                shutil.rmtree(folder, ignore_errors=True)

    try:
        source = await _split(await asyncio.to_thread(look), folder, root)
        return source
    finally:
        stop.set()
        if source is None:
            shutil.rmtree(folder, ignore_errors=True)


async def progress_of(files: Sequence[str]) -> AsyncGenerator[float | Source, None]:
    """The share that is unpacked so far, from 0 to 1, now and then; in the end what `from_upload` gives. Closing the
    iterator cancels that."""
    share = [0.0]

    def tell(done: int, total: int) -> None:
        share[0] = done / max(1, total)

    task, told = asyncio.create_task(from_upload(files, tell)), -1.0
    try:
        while not task.done():
            if share[0] != told:
                told = share[0]
                yield told
            await asyncio.wait({task}, timeout=LOOK_S)
        yield task.result()
    finally:
        task.cancel()


def from_corrections() -> Source:
    """The corrections of this machine as they are now, copied, so that later ones change no run. Raises NarratorError
    when there are none, or this page serves several people, who have their own."""
    if not alone():
        raise NarratorError("This page serves several people. Export your corrections on Narrate, then upload the zip "
                            "here.")
    kept = corrections_of()
    if not kept.count():
        raise NarratorError("No correction has been kept yet. Edit a description on Narrate, keep it as a correction, "
                            "then come back.")
    root, folder = places.new_upload()
    exported = kept.export(folder / "corrections")
    path = (folder / "corrections" / DATA).relative_to(root).as_posix()
    return Source(data=[{"path": path, "split": "train"}], dev=[{"path": path, "split": "dev"}], root=root,
                  says=f"{len(exported.corrections):,} corrections, copied as they are now.")


def from_hub(name: str, train: str, dev: str, limit: float | None) -> Source:
    """A data set of the Hub by its name. Raises NarratorError for a name that is none, and for one split twice."""
    path = "hub:" + name.strip().removeprefix("hub:")
    if not OF_THE_HUB.fullmatch(path):
        raise NarratorError("A data set of the Hub is named owner/name, such as owner/my-captions. Correct the name.")
    if not train.strip() or not dev.strip() or train.strip() == dev.strip():
        raise NarratorError("Name two splits of the data set: one to learn from, and another one that is held out.")
    rows = [{"path": path, "split": split.strip()} | ({"limit": int(limit)} if limit else {}) for split in (train, dev)]
    return Source(data=rows[:1], dev=rows[1:], root=places.upload_place()[0], says=f"{path.removeprefix('hub:')} is "
                  "fetched when it is checked or learned from; this page loads nothing by itself.")


def from_preset(start_id: str) -> Source:
    """What the chosen preset says, below the data root of this page."""
    draft = start_from(start_id)
    return Source(data=draft["data"], dev=draft["dev"], root=places.data_root(),
                  says=f"Data sets of the recipe are looked for in {places.data_root()}.")


def applied(draft: Draft, source: Source, start_id: str) -> Draft:
    """The draft with these data sets. Captions without pictures go with a preset's own data sets alone."""
    own = from_preset(start_id)
    text = draft["text"] if source.data == own.data else []
    blank: dict[str, Any] = {"split": None, "repeat": 1, "limit": None}
    return draft | {"data": [blank | row for row in source.data], "dev": [blank | row for row in source.dev],
                    "text": text}


async def _split(found: Mapping[str, Any], folder: Path, root: Path) -> Source:
    """What was uploaded, by its own splits where it has them, else split by picture."""
    given, kind, splits = Path(found["path"]), str(found["kind"]), dict(found["splits"])
    dev = next((name for name in HELD_OUT if splits.get(name)), None)
    bad = f" {_many(int(found['bad']), 'row')} cannot be used; the check names them." if found["bad"] else ""
    if splits.get("train") and dev is not None:
        path = given.relative_to(root.resolve()).as_posix()
        return Source(data=[{"path": path, "split": "train"}], dev=[{"path": path, "split": dev}], root=root,
                      says=f"{_many(splits['train'], 'row')} to learn from and {splits[dev]:,} held out, as the upload "
                      f"says.{bad}")
    if kind in ("text", "classes"):
        path = given.relative_to(root.resolve()).as_posix()
        return Source(data=[{"path": path}], dev=[{"path": path}], root=root,
                      says=f"{_many(int(found['examples']), 'example')} without captions of pictures, for recipes that "
                      f"learn from such.{bad}")
    share = FEW_HELD_OUT if found["examples"] < FEW else USUAL_HELD_OUT
    said = await run_trainer("prepare", str(given), "--out", str(folder / "ready"), "--held-out", str(share))
    shutil.rmtree(folder / "given", ignore_errors=True)  # its pictures are linked or copied
    path = (folder / "ready" / LISTED).relative_to(root).as_posix()
    return Source(data=[{"path": path, "split": "train"}], dev=[{"path": path, "split": "dev"}], root=root,
                  says=said.strip().rpartition(": ")[2] + " The check names them." * ("cannot be used" in said))


def _many(count: int, one: str) -> str:
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
