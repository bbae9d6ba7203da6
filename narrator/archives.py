"""Uploads become data: archives unpacked safely, and what was uploaded recognised by its content.

Nothing half stays: everything is made in a hidden folder beside its place, and renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from narrator.hub.pulling import size
from narrator.readers.digits import CLASSES
from narrator.readers.gathering import LISTED, open_rows, read_found
from narrator.readers.rows import PICTURES, BadRow, Pictures, Row, show
from narrator.readers.table import columns
from narrator.records import NarratorError
from narrator.unpacking import (
    ARCHIVES,
    FILES,
    STARTS,
    TABLES,
    TAKEN,
    TOTAL_BYTES,
    Tell,
    check_room,
    nobody,
    safe_name,
    start_of,
    unpack_into,
)

FIRST_ROWS = 200  # looked at to tell what a file is
Count = Callable[[], tuple[int, int]]  # (texts, bad rows) of a table of texts without pictures
TextAlone = Callable[[Path], Count | None]  # of a file; None where it is no such table


def no_text_alone(table: Path) -> None:
    """For whom a table without pictures is of no use."""


def unpack(archive: Path, into: Path, tell: Tell = nobody) -> Path:
    """`into`, made whole from the pictures and tables of a zip; what else is in it stays there, archives in it too.

    Raises NarratorError, and leaves nothing: no zip, damaged, encrypted, too many or too large files (as declared, and
    as they come out), a name that leads outside or cannot be a file's, the same name twice, a link.
    """
    into, part = Path(into), _part(Path(into))
    try:
        unpack_into(Path(archive), part, tell)
        part.rename(into)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return into


def describe_upload(files: Sequence[Path], into: Path, tell: Tell = nobody,
                    text_alone: TextAlone = no_text_alone) -> dict[str, Any]:
    """What was uploaded as a data set in the new folder `into`: {"path" (absolute), "kind", "examples" (their number),
    "splits" (rows by split, "" for none), "bad" (rows of no use)}.

    files: a zip, or pictures and tables, or both. kind: folder (pictures with a .txt beside each), csv, jsonl, coco,
    karpathy, llava, text (captions without pictures) or classes (pictures in folders 0, 1, 2 ..., or an .npz).
    Pictures are put where the table looks for them. text_alone: who takes a table of texts without pictures knows it.
    Raises NarratorError, and leaves nothing, for what cannot be used.
    """
    into, part = Path(into), _part(Path(into))
    try:
        zips = [path for path in map(Path, files) if path.suffix.lower() == ".zip" or _is_archive(path)]
        loose = [path for path in map(Path, files) if path not in zips]
        if len(zips) > 1:
            raise NarratorError("These are several archives. Upload one at a time.")
        if zips:
            unpack_into(zips[0], part, tell)
        _copy(loose, part)
        found = _described(part, text_alone)
        part.rename(into)
    except NarratorError as error:
        raise NarratorError(str(error).replace(f"{part}{os.sep}", "").replace(str(part), "the upload")) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found | {"path": str((into / found["path"]).resolve())}


def _part(into: Path) -> Path:
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise NarratorError(f"{into} is there already. Name a new folder.")
    part = into.with_name(f".{into.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    return part


def _is_archive(path: Path) -> bool:
    """Whether a file of any name is one; an .npz is a zip, and data."""
    if path.suffix.lower() in (".npz", *PICTURES):
        return False
    return zipfile.is_zipfile(path) or path.suffix.lower() in ARCHIVES or start_of(path)[:6].startswith(tuple(STARTS))


def _copy(files: Sequence[Path], part: Path) -> None:
    """Uploaded files, by their names, beside what is in `part`."""
    if len(files) > FILES:
        raise NarratorError(f"These are {len(files):,} files, and {FILES:,} is the most. Upload them in parts.")
    part.mkdir(parents=True, exist_ok=True)
    if any(path.is_symlink() or not path.is_file() for path in files):
        raise NarratorError("The upload holds something that is no file. Upload the files themselves.")
    total = sum(path.stat().st_size for path in files)
    if total > TOTAL_BYTES:
        raise NarratorError(f"These files are {size(total)}, and {size(TOTAL_BYTES)} is the most. Upload less.")
    check_room(total, part)
    for path in files:
        name = safe_name(path.name, "The upload")
        if not name.lower().endswith(TAKEN):
            raise NarratorError(f"{show(name)} is neither a picture nor a table. Upload pictures (JPEG, PNG, WebP, "
                                "GIF, BMP, TIFF), .txt, CSV, JSON or JSON lines, or a zip of them.")
        if (part / name).exists():
            raise NarratorError(f"Two of these files are called {show(name)}. Give them different names.")
        shutil.copyfile(path, part / name, follow_symlinks=False)


def _described(folder: Path, text_alone: TextAlone) -> dict[str, Any]:
    """What is in the folder; "path" is below it."""
    folder_of_data = _only_folder(folder)
    table = _table(folder, text_alone)
    if table is None:
        return _without_table(folder_of_data, folder)
    alone = text_alone(table)
    if alone is not None:
        examples, bad = alone()
        return {"path": table.relative_to(folder), "kind": "text", "examples": examples, "splits": {}, "bad": bad}
    _place_pictures(folder, table)
    return _counted(table, folder)


def _counted(path: Path, folder: Path) -> dict[str, Any]:
    found = read_found(path)
    kind = "text" if all(example.image is None for example in found.examples) else found.kind
    return {"path": path.relative_to(folder), "kind": kind, "examples": len(found.examples), "splits": found.splits,
            "bad": len(found.bad)}


def _only_folder(folder: Path) -> Path:
    """The folder itself, or the one inside that is all that it holds."""
    inside = list(folder.iterdir())
    return _only_folder(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder


def _table(folder: Path, text_alone: TextAlone) -> Path | None:
    """The one file that holds rows with texts. NarratorError where there are several, or none of the tables is one."""
    names = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (*TABLES, ".txt") and path.is_file())
    found, refused = [], None
    for path in names:
        try:
            if path.suffix.lower() == ".txt" and not columns(start_of(path).partition(b"\n")[0]):
                continue  # beside its picture
            rows = list(itertools.islice(open_rows(path)[1], FIRST_ROWS))
        except NarratorError as error:
            refused = refused or error
            continue
        if text_alone(path) is not None or any(isinstance(row, Row) and row.texts for row in rows):
            found.append(path)
        elif rows and refused is None:
            refused = NarratorError(f"{path} has no row with a text: {rows[0]}. Mend it and upload it again."
                                    if isinstance(rows[0], BadRow) else f"{path} has no texts. Add captions to it.")
    listed = [path for path in found if path.name in LISTED]
    if len(found) > 1 and len(listed) != 1:
        named = ", ".join(path.relative_to(folder).as_posix() for path in found[:3])
        raise NarratorError(f"The upload holds several tables ({named}). Leave in the one that counts.")
    if not found and refused is not None:
        raise refused
    return next(iter(listed or found), None)


def _without_table(data: Path, folder: Path) -> dict[str, Any]:
    """Pictures by class, or with a .txt beside each."""
    archives = sorted(data.glob("*.npz"))
    classes = {path.name for path in data.glob("**/*/") if path.name in map(str, range(CLASSES))}
    pictures = [path for path in data.rglob("*") if path.suffix.lower() in PICTURES]
    if archives or (len(classes) > 1 and not any(path.with_suffix(".txt").exists() for path in pictures)):
        path = archives[0] if len(archives) == 1 else data
        return {"path": path.relative_to(folder), "kind": "classes", "examples": len(pictures), "splits": {}, "bad": 0}
    if not pictures:
        raise NarratorError("There are no pictures and no captions in this upload. Upload pictures with texts, or a "
                            "table of captions.")
    if not any(path.with_suffix(".txt").exists() for path in pictures):
        raise NarratorError("These pictures have no texts. Put a .txt of the same name beside each, or add a CSV with "
                            "the columns image and caption.")
    return _counted(data, folder)


def _place_pictures(folder: Path, table: Path) -> None:
    """Pictures that the table names in a folder where they are not, put there: uploaded files come without folders."""
    by_name: dict[str, list[Path]] = {}
    for path in folder.rglob("*"):
        if path.suffix.lower() in PICTURES:
            by_name.setdefault(path.name, []).append(path)
    _, rows, roots = open_rows(table)
    pictures = Pictures(roots)
    for row in rows:
        if isinstance(row, Row) and isinstance(row.image, str) and not _is_there(pictures, row.image):
            try:
                relative = PurePosixPath(pictures.relative(row.image, row.where))
            except BadRow:  # told when the rows are read
                continue
            known = by_name.get(relative.name, [])
            if len(known) == 1:
                with contextlib.suppress(OSError):  # a file where a folder should be: told when the rows are read
                    (table.parent / relative).parent.mkdir(parents=True, exist_ok=True)
                    os.link(known[0], table.parent / relative)


def _is_there(pictures: Pictures, name: str) -> bool:
    try:
        pictures.find(name, "")
    except BadRow:
        return False
    return True
