"""Rows -> a file of each format. A writer goes through the rows as often as it likes, lists none, leaves a whole file.

Written again from the same rows, the result is the same: a batch that is killed while it writes is written again.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import TextIO

from narrator.batch.plan import HIDDEN, BatchPlan, Row, row_json
from narrator.files import write_whole
from narrator.readers.rows import PICTURES, BadRow, lines, load_json
from narrator.records import NarratorError

COLUMNS = ["image" if field.name == "path" else field.name for field in dataclasses.fields(Row)
           if field.name not in HIDDEN]
KEPT = "kept"  # in a batch's home: the rows that were there before it
_UTF8 = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}  # names of files may hold any bytes
Writer = Callable[[Iterable[Row], Path, BatchPlan], None]


def write_rows(rows: Iterable[Row], plan: BatchPlan) -> None:
    """Write the rows in the plan's format to its place, sounds first. Raises OSError as when the disk is full."""
    if plan.speak and plan.format != "sidecar":
        place_sounds(rows, plan)
    _writer(plan.format)(rows, plan.place, plan)


def _writer(name: str) -> Writer:
    if name == "html":
        from narrator.batch import gallery

        return gallery.write
    return {"jsonl": write_jsonl, "csv": write_csv, "coco": write_coco, "sidecar": write_sidecars}[name]


@contextlib.contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """A text file (UTF-8) that takes the place of `path` when the block ends well, and leaves nothing otherwise."""
    part = path.with_name(f".{path.name[:100]}.part")  # always the same: what a kill leaves is written over
    try:
        with part.open("w", **_UTF8) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):  # gone when all went well
            part.unlink()


def write_jsonl(rows: Iterable[Row], out: Path, plan: BatchPlan) -> None:
    """A JSON object a line, as `row_json` has it."""
    with whole_text(out) as file:
        for line in _kept_lines(plan):
            file.write(line)
        for row in rows:
            file.write(json.dumps(row_json(row), ensure_ascii=False) + "\n")


def write_csv(rows: Iterable[Row], out: Path, plan: BatchPlan) -> None:
    """A table with a header; "" where there is nothing."""
    with whole_text(out) as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        table.writeheader()
        for old in _kept_records(plan):
            table.writerow(old)
        for row in rows:
            table.writerow(row_json(row))


def write_coco(rows: Iterable[Row], out: Path, plan: BatchPlan) -> None:
    """COCO captions (https://cocodataset.org/#format-data); pictures without a text are among the images, and "errors"
    says why."""
    kinds: tuple[tuple[str, Callable[[int, Row], dict[str, object] | None]], ...] = (
        ("images", lambda number, row: {"id": number, "file_name": row.path, "width": row.width,
                                        "height": row.height}),
        ("annotations", lambda number, row: None if row.error is not None else {
            "id": number, "image_id": number, "caption": row.said(plan.audience)}),
        ("errors", lambda number, row: None if row.error is None else {"image_id": number, "error": row.error}))
    with whole_text(out) as file:
        info = {"description": f"Described by {plan.variant}", "audience": plan.audience}
        file.write(f'{{"info": {json.dumps(info)}')
        for name, entry in kinds:
            file.write(f',\n"{name}": [')
            first = True
            for number, row in enumerate(rows, start=1):
                value = entry(number, row)
                if value is not None:
                    file.write(("\n" if first else ",\n") + json.dumps(value, ensure_ascii=False))
                    first = False
            file.write("]")
        file.write("}\n")


def write_sidecars(rows: Iterable[Row], out: Path, plan: BatchPlan) -> None:
    """A .txt beside each picture, or in the same places below `out`; the sound beside it. A text that somebody put
    there meanwhile stays, unless all are to be overwritten."""
    for row in rows:
        if row.error is not None:
            continue
        path = sidecar(row.path, row.file, plan)
        text = row.said(plan.audience) + "\n"
        if plan.existing == "overwrite" or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        if row.audio is not None:
            _copy(plan.home / "sounds" / Path(row.audio).name, path.with_suffix(".wav"))


def sidecar(name: str, file: str, plan: BatchPlan) -> Path:
    """Where the text of a picture goes: a.jpg -> a.txt; where a.png is there too, a.jpg.txt."""
    picture = Path(file)
    alone = not any(picture.with_suffix(ending).exists() for ending in PICTURES if ending != picture.suffix.lower())
    if plan.out is not None:
        parts = [part for part in PurePath(name).parts if part not in ("..", PurePath(name).anchor)]
        picture = plan.out.joinpath(*parts)
    return picture.with_suffix(".txt") if alone else picture.with_name(picture.name + ".txt")


def place_sounds(rows: Iterable[Row], plan: BatchPlan) -> None:
    """The sounds from the batch's home to where the rows say."""
    for row in rows:
        if row.audio is not None:
            _copy(plan.home / "sounds" / Path(row.audio).name, plan.sounds / Path(row.audio).name)


def _copy(source: Path, target: Path) -> None:
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        os.link(source, part)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(source, part)
    os.replace(part, target)


def keep_old(plan: BatchPlan) -> Iterator[str]:
    """Put the result that is there aside, to be added to; yields the pictures that it has a row of. With "skip" its
    rows without a text are not put aside: these are asked about again. Raises NarratorError for a file of another
    kind."""
    return _put_aside(plan.place, plan, lambda name: plan.existing == "skip")


def let_go(plan: BatchPlan, has_text: Callable[[str], bool]) -> None:
    """Of the rows put aside, those without a text give way to a new row that has one of the same picture."""
    if (plan.home / KEPT).exists():
        deque(_put_aside(plan.home / KEPT, plan, has_text), maxlen=0)


def _put_aside(old: Path, plan: BatchPlan, leave_out: Callable[[str], bool]) -> Iterator[str]:
    """The rows of `old`, without those that have no text and that are to be left out; yields their pictures."""
    with whole_text(plan.home / KEPT) as file:
        if plan.format == "jsonl":
            for line, name, failed in _lines_of(old):
                if not (failed and leave_out(name)):
                    file.write(line + "\n")
                    yield name
        else:
            table = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
            table.writeheader()
            for record in _records(old):
                if not (record.get("error") and leave_out(record["image"])):
                    table.writerow(record)
                    yield record["image"]


def failures(plan: BatchPlan) -> int:
    """How many rows of the finished result have no text; 0 for kinds that nothing is added to."""
    if plan.format == "jsonl":
        return sum(failed for _, _, failed in _lines_of(plan.place))
    return sum(bool(record.get("error")) for record in _records(plan.place)) if plan.format == "csv" else 0


def _lines_of(path: Path) -> Iterator[tuple[str, str, bool]]:
    """(line, picture, whether it has no text) of JSON lines."""
    for number, line in lines(path):
        where = f"{path}, line {number}"
        try:
            if line is None:
                raise BadRow(where, "is too long")
            if not line.strip():
                continue
            data = load_json(line, where)
            if not isinstance(data, dict) or not isinstance(data.get("image"), str):
                raise BadRow(where, "has no 'image'")
        except BadRow as bad:
            raise NarratorError(f"{bad}: this is no result of a batch, so nothing is added to it.") from None
        yield line.decode("utf-8").rstrip("\r\n"), data["image"], bool(data.get("error"))


def _records(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open("r", encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if "image" not in (table.fieldnames or ()):
                raise NarratorError(f"{path} has no column 'image': it is no result of a batch, so nothing is added to "
                                    "it.")
            yield from table
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NarratorError(f"{path} cannot be read ({error}): save it as a CSV in UTF-8, or write it anew with "
                            "--overwrite.") from None


def _kept_lines(plan: BatchPlan) -> Iterator[str]:
    if (plan.home / KEPT).exists():
        with (plan.home / KEPT).open("r", encoding="utf-8") as file:
            yield from file


def _kept_records(plan: BatchPlan) -> Iterator[dict[str, str]]:
    if (plan.home / KEPT).exists():
        yield from _records(plan.home / KEPT)
