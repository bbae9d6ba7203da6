"""The rows of a batch of the page, read by pages while it runs and after it: its journal is kept beside the result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from narrator.batch.jobs import JOURNAL, PICTURES, RESULT, Batch
from narrator.batch.journal import Rows, as_twin
from narrator.batch.plan import Row
from narrator.keeping import written
from narrator.records import NarratorError

WAIT_S = 10.0  # for the process that writes
_ROW = "SELECT twin, row FROM rows"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowPage:
    """Some rows, from number `start` (0 is the first) of `total`."""

    rows: tuple[Row, ...]
    start: int
    total: int


def page_of(batch: Batch, start: int, count: int) -> RowPage:
    """`count` rows from `start`, or the last ones where there are not so many."""
    with _read(batch) as table:
        if table is None:
            return RowPage(rows=(), start=0, total=0)
        total = int(table.execute("SELECT count(*) FROM rows").fetchone()[0])
        start = max(0, min(start, (max(total, 1) - 1) // count * count))
        found = table.execute(f"{_ROW} ORDER BY position, id LIMIT ? OFFSET ?", (count, start)).fetchall()
        return RowPage(rows=tuple(_made(table, *one) for one in found), start=start, total=total)


def failed_rows(batch: Batch, most: int) -> tuple[Row, ...]:
    """The first rows without a text."""
    with _read(batch) as table:
        if table is None:
            return ()
        found = table.execute(f"{_ROW} WHERE failed ORDER BY position, id LIMIT ?", (most,)).fetchall()
        return tuple(_made(table, *one) for one in found)


def row_at(batch: Batch, position: int) -> Row:
    """A row by its place in the source. Raises NarratorError where there is none."""
    with _read(batch) as table:
        found = None if table is None else table.execute(f"{_ROW} WHERE position = ?", (position,)).fetchone()
        if table is None or found is None:
            raise NarratorError("This row is not there: choose another one.")
        return _made(table, *found)


def every_row(batch: Batch) -> Rows:
    """All rows, as often as they are asked for. Raises NarratorError where there are none yet."""
    path = _journal(batch)
    if path is None:
        raise NarratorError("There is nothing to save yet: wait for the first rows.")
    return Rows(path)


def forget_failed(batch: Batch) -> int:
    """Let the pictures without a text be asked about again when the batch goes on; how many. It must not run."""
    path = _journal(batch)
    if path is None:
        return 0
    home = batch.plan().home
    with written("They cannot be tried again"):
        home.mkdir(exist_ok=True)
        if path != home / JOURNAL:
            shutil.copyfile(path, home / f"{JOURNAL}.part")
            (home / f"{JOURNAL}.part").replace(home / JOURNAL)
    try:
        with contextlib.closing(sqlite3.connect(home / JOURNAL, timeout=WAIT_S)) as table, table:
            return table.execute("DELETE FROM rows WHERE failed").rowcount
    except sqlite3.Error as error:
        raise _damaged(error) from None


def replace_failed(batch: Batch, folder: Path) -> tuple[int, list[str]]:
    """Put the files of a folder in the place of the batch's pictures without a text that are called the same: by their
    whole path, else by their name where one alone is called so. (how many, the files that are called like none).

    Raises NarratorError where they cannot be kept.
    """
    with _read(batch) as table:
        found = table.execute("SELECT row FROM rows WHERE failed") if table is not None else ()
        failed = {Row(**json.loads(text)).path for (text,) in found}
    by_name: dict[str, list[str]] = {}
    for path in failed:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    count, others = 0, []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        places = [name] if name in failed else by_name.get(file.name, [])
        if len(places) != 1:
            others.append(name)
            continue
        place = batch.folder / PICTURES / places[0]
        part = place.with_name(f".{place.name[:100]}.part")  # a hidden file is no picture of the batch
        with written("The better files were not kept"):
            shutil.copyfile(file, part)
            part.replace(place)  # what lies there may be a second name of an upload, so it is not written into
        count += 1
    return count, others


def _kept(batch: Batch) -> Path:
    return batch.folder / RESULT / JOURNAL


def _journal(batch: Batch) -> Path | None:
    """That of a batch that has not ended well comes first: it is the newer one."""
    return next((path for path in (batch.plan().home / JOURNAL, _kept(batch)) if path.is_file()), None)


@contextlib.contextmanager
def _read(batch: Batch) -> Iterator[sqlite3.Connection | None]:
    """The journal, None where there is none yet. What is wrong with it is a NarratorError."""
    path = _journal(batch)
    if path is None:
        yield None
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=WAIT_S)) as table:
            known = table.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone()
            yield table if known else None
    except sqlite3.Error as error:
        raise _damaged(error) from None


def _made(table: sqlite3.Connection, twin: str | None, text: str) -> Row:
    row = Row(**json.loads(text))
    if twin is None:
        return row
    first = table.execute("SELECT row FROM rows WHERE twin = ? ORDER BY position, id LIMIT 1", (twin,)).fetchone()
    return as_twin(row, Row(**json.loads(first[0])))


def _damaged(error: sqlite3.Error) -> NarratorError:
    return NarratorError(f"The rows of this batch cannot be read ({error}): delete it, and describe its pictures "
                         "again.")
