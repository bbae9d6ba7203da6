"""A data set of one's own from captions in any known format: limited and split by picture, every picture looked at."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from narrator.readers.gathering import read_examples
from narrator.records import Example, NarratorError
from trainer.jobs import write_whole
from trainer.scenes import fraction

FILE, PICTURES = "captions.jsonl", "pictures"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was written: pictures to learn from, pictures held out, captions of both."""

    train: int
    dev: int
    captions: int


def prepare(source: Path, out: Path, *, limit: int | None = None, held_out: float = 0.1, split: str | None = None,
            tell: Callable[[int, int], None] = lambda done, total: None) -> Prepared:
    """Write `out`/captions.jsonl and the pictures it names, linked where the disk allows it.

    limit: pictures, each with all its captions; which ones is decided by a hash of their names, so that a file that is
    sorted by subject gives no lopsided sample. held_out: share of the pictures that become the split "dev", one at
    least. split: only rows of this split. Damaged pictures and bad rows are named and left out. Raises NarratorError
    when fewer than two pictures can be used, or `out` holds something already.
    """
    if (limit is not None and limit < 2) or not 0 <= held_out < 1:
        raise NarratorError(f"A limit of {limit} pictures and a held-out share of {held_out} leave nothing to do: take "
                            "two pictures or more, and a share between 0 and 1.")
    if out.exists() and any(out.iterdir()):
        raise NarratorError(f"{out} holds something already. Name a new folder.")
    asked: dict[Path, list[Example]] = {}
    for example in read_examples(source, split=split, look=True):
        if example.image is not None:
            asked.setdefault(example.image, []).append(example)
    top = os.path.commonpath([picture.parent for picture in asked]) if asked else ""
    order = sorted(asked, key=lambda picture: fraction(os.path.relpath(picture, top)))[:limit]
    if len(order) < 2:
        raise NarratorError(f"{source} gives {len(order)} pictures with captions, and two are needed: one to learn "
                            "from, one to measure on.")
    held = max(1, min(len(order) - 1, round(held_out * len(order))))
    rows = []
    try:
        (out / PICTURES).mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(order):
            name = f"{PICTURES}/{number:06d}{picture.suffix.lower()}"
            _link(picture, out / name)
            rows += [_row(example, name, "dev" if number < held else "train") for example in asked[picture]]
            tell(number + 1, len(order))
        write_whole(out / FILE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except OSError as error:
        raise NarratorError(f"{out} cannot be written ({error.strerror}). Check its permissions and the space on the "
                            "disk.") from None
    return Prepared(train=len(order) - held, dev=held, captions=sum(len(row["captions"]) for row in rows))


def _link(picture: Path, place: Path) -> None:
    """The picture in its new place: the same file where the disk can do that, else a copy."""
    try:
        os.link(picture, place)
    except OSError:
        shutil.copyfile(picture, place)


def _row(example: Example, name: str, split: str) -> dict[str, Any]:
    row: dict[str, Any] = {"image": name, "captions": list(example.texts), "split": split}
    if example.prompt:
        row["prompt"] = example.prompt
    return row
