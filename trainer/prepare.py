"""A data set of one's own from captions in any known format: limited and split by picture, every picture looked at."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from narrator.readers.gathering import read_found, to_stderr
from narrator.readers.rows import BadRow
from narrator.records import Example, NarratorError
from trainer.jobs import write_whole
from trainer.scenes import fraction

FILE, PICTURES, LEFT_OUT = "captions.jsonl", "pictures", "left-out.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """What was written: pictures to learn from, pictures held out, captions of both; rows that cannot be used."""

    train: int
    dev: int
    captions: int
    left_out: int

    def __str__(self) -> str:
        rows = "1 row" if self.left_out == 1 else f"{self.left_out:,} rows"
        return (f"{self.train:,} pictures to learn from, {self.dev:,} to measure on, {self.captions:,} captions."
                + (f" {rows} cannot be used." if self.left_out else ""))


def prepare(source: Path, out: Path, *, limit: int | None = None, held_out: float = 0.1, split: str | None = None,
            tell: Callable[[int, int], None] = lambda done, total: None) -> Prepared:
    """Write `out`/captions.jsonl and the pictures it names, linked where the disk allows it.

    limit: pictures, each with all its captions; which ones is decided by a hash of their names, so that a file that is
    sorted by subject gives no lopsided sample. held_out: share of the pictures that become the split "dev", one at
    least. split: only rows of this split. Damaged pictures and bad rows are left out and named, in
    `out`/left-out.jsonl too (see `left_out`). Raises NarratorError when fewer than two pictures can be used, or `out`
    holds something already.
    """
    if (limit is not None and limit < 2) or not 0 <= held_out < 1:
        raise NarratorError(f"A limit of {limit} pictures and a held-out share of {held_out} leave nothing to do: take "
                            "two pictures or more, and a share between 0 and 1.")
    if out.exists() and any(out.iterdir()):
        raise NarratorError(f"{out} holds something already. Name a new folder.")
    asked: dict[Path, list[Example]] = {}
    found = read_found(source, split=split, report=to_stderr, look=True)
    for example in found.examples:
        if example.image is not None:
            asked.setdefault(example.image, []).append(example)
    order = _by_name(asked)[:limit]
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
            rows += [_row(one, name, "dev" if number < held else "train") for one in asked[picture]]
            tell(number + 1, len(order))
        _write_left_out(found.bad, source, out)
        write_whole(out / FILE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except OSError as error:
        raise NarratorError(f"{out} cannot be written ({error.strerror}). Check permissions and disk.") from None
    return Prepared(train=len(order) - held, dev=held, captions=sum(len(row["captions"]) for row in rows),
                    left_out=len(found.bad))


def _by_name(pictures: Collection[Path]) -> list[Path]:
    top = os.path.commonpath([picture.parent for picture in pictures]) if pictures else ""
    return sorted(pictures, key=lambda picture: fraction(os.path.relpath(picture, top)))


def _write_left_out(bad: Sequence[BadRow], source: Path, out: Path) -> None:
    home = f"{source if source.is_dir() else source.parent}/"
    rows = [{"where": row.where.removeprefix(home), "reason": row.reason} for row in bad]
    if rows:
        write_whole(out / LEFT_OUT, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def left_out(folder: Path) -> list[BadRow]:
    """What `prepare` could not use when it wrote the folder, as it stood in what it was given."""
    try:
        rows = [json.loads(line) for line in (folder / LEFT_OUT).read_text(encoding="utf-8").splitlines()]
        return [BadRow(str(row["where"]), str(row["reason"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


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
