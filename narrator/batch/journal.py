"""What a batch has so far, on disk: a table of rows that a kill at any moment leaves whole (SQLite).

A row is there once or not at all, by its key; a million rows take as much memory as a hundred.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from narrator.batch.plan import Row
from narrator.records import NarratorError

PAGE = 500  # rows read at once: no reader holds a lock for long
WAIT_S = 60.0  # for a reader that holds one
_TABLES = """
CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, position INTEGER, key BLOB UNIQUE, twin TEXT, failed INTEGER,
                                 row TEXT);
CREATE INDEX IF NOT EXISTS by_position ON rows (position, id);
CREATE INDEX IF NOT EXISTS by_twin ON rows (twin, position, id) WHERE twin IS NOT NULL;
CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (name TEXT PRIMARY KEY, value TEXT);
"""
_ADD = "INSERT OR IGNORE INTO rows (position, key, twin, failed, row) VALUES (?, ?, ?, ?, ?)"


def twin_of(sha256: str | None, prompt: str) -> str | None:
    """What pictures with the same pixels and prompt have in common."""
    return None if sha256 is None else f"{sha256}\n{prompt}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A row with its key and, where duplicates count, its twin."""

    key: str
    row: Row
    twin: str | None


def stamp_of(file: str) -> str:
    """What is different once a file is another one: its inode, size and time; "" where there is none."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return ""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


class Journal:
    """The rows of a batch, or of one process of it. Raises NarratorError when the file is damaged."""

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path = path
        try:
            self._table = sqlite3.connect(path, timeout=WAIT_S, check_same_thread=False)
            if not shared:
                self._table.executescript(_TABLES)
        except sqlite3.Error as error:
            raise NarratorError(f"{path} cannot be read ({error}): remove the folder {path.parent} and begin "
                                "again.") from None

    def close(self) -> None:
        self._table.close()

    def add(self, entries: Iterable[Entry]) -> None:
        """File rows, all or none; a key that is there keeps its row. Raises NarratorError when the disk is full."""
        values = [(entry.row.position, os.fsencode(entry.key), entry.twin, entry.row.error is not None,
                   json.dumps(dataclasses.asdict(entry.row))) for entry in entries]
        try:
            with self._table:
                self._table.executemany(_ADD, values)
        except sqlite3.OperationalError as error:
            raise NarratorError(f"Rows cannot be written to {self.path} ({error}): free some disk space, then go on "
                                "with --resume.") from None

    def has(self, key: str) -> bool:
        return self._one("SELECT 1 FROM rows WHERE key = ?", os.fsencode(key)) is not None

    def has_text(self, path: str) -> bool:
        """Whether a picture of that name, with whatever prompt, has a row with a text."""
        name = os.fsencode(path)  # of "\n", a prompt follows; "\v" is what comes after "\n"
        return self._one("SELECT 1 FROM rows WHERE NOT failed AND (key = ? OR (key > ? AND key < ?))", name,
                         name + b"\n", name + b"\v") is not None

    def twin(self, twin: str) -> Row | None:
        """The first row, by position, of a twin."""
        found = self._one("SELECT row FROM rows WHERE twin = ? ORDER BY position, id LIMIT 1", twin)
        return None if found is None else Row(**json.loads(found))

    def counts(self) -> tuple[int, int, int]:
        """(rows, failed, duplicates)"""
        rows, failed, twins, different = self._table.execute(
            "SELECT count(*), coalesce(sum(failed), 0), count(twin), count(DISTINCT twin) FROM rows").fetchone()
        return rows, failed, twins - different

    def forget_mended(self) -> int:
        """Let go of rows without a text whose file is another one by now, or was none: they are asked about again. How
        many."""
        failed = self._table.execute("SELECT id, row FROM rows WHERE failed")
        mended = [(number,) for number, row in ((number, Row(**json.loads(text))) for number, text in failed)
                  if not row.file or row.stamp != stamp_of(row.file)]
        with self._table:
            self._table.executemany("DELETE FROM rows WHERE id = ?", mended)
        return len(mended)

    def keep(self, keys: Iterable[str]) -> None:
        """Remember what had a row before this batch."""
        with self._table:
            self._table.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((os.fsencode(key),) for key in keys))

    def kept(self, key: str) -> bool:
        return self._one("SELECT 1 FROM kept WHERE key = ?", os.fsencode(key)) is not None

    def tell(self, values: Mapping[str, Any]) -> None:
        """Remember values by name."""
        with self._table:
            self._table.executemany("INSERT OR REPLACE INTO told VALUES (?, ?)",
                                    ((name, json.dumps(value)) for name, value in values.items()))

    def told(self, name: str) -> Any:
        found = self._one("SELECT value FROM told WHERE name = ?", name)
        return None if found is None else json.loads(found)

    def take(self, other: Path) -> None:
        """The rows of another process's journal join these, whole; then that one is removed."""
        Journal(other).close()  # what a kill left half written is rolled back
        self._table.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            with self._table:
                self._table.execute(
                    "INSERT OR IGNORE INTO rows (position, key, twin, failed, row) "
                    "SELECT position, key, twin, failed, row FROM other.rows ORDER BY position, id")
        finally:
            self._table.execute("DETACH DATABASE other")
        other.unlink()

    def rows(self) -> Iterator[Row]:
        """In order; a duplicate says what the first of its twins says."""
        after = (-1, -1)
        while True:
            page = self._table.execute("SELECT position, id, twin, row FROM rows WHERE (position, id) > (?, ?) "
                                       "ORDER BY position, id LIMIT ?", (*after, PAGE)).fetchall()
            for position, number, twin, text in page:
                after = (position, number)
                row = Row(**json.loads(text))
                yield row if twin is None else as_twin(row, self.twin(twin))
            if len(page) < PAGE:
                return

    def _one(self, query: str, *values: Any) -> Any:
        found = self._table.execute(query, values).fetchone()
        return None if found is None else found[0]


def as_twin(row: Row, first: Row | None) -> Row:
    """`row`, in the words of the first picture with the same pixels."""
    if first is None or first.path == row.path:
        return row
    same = {name: getattr(first, name) for name in ("text", "alt", "long", "tokens", "confidence", "label", "audio")}
    return dataclasses.replace(row, **same, seconds=0.0, duplicate_of=first.path)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a journal, as often as they are asked for; each time it is opened anew, by any thread."""

    path: Path

    def __iter__(self) -> Iterator[Row]:
        with contextlib.closing(Journal(self.path)) as journal:
            yield from journal.rows()
