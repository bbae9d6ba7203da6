"""events.jsonl: what happened in a run, one JSON object a line, appended as it happens.

A line is written in one piece and never changed, so that a reader may follow the file while it grows.
After a resume, steps since the last checkpoint appear again: of two lines for the same step the later one counts.
"""

from __future__ import annotations

import datetime
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from narrator.records import NarratorError

FILE = "events.jsonl"
TAIL_BYTES = 1 << 16
WRITE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows would write \r\n


class EventLog:
    """Appends events to `path`. One process at a time may hold it: the job's lock sees to that."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._descriptor = os.open(self.path, WRITE_FLAGS, 0o644)
        except OSError as error:
            raise NarratorError(f"{self.path} cannot be written ({error.strerror}). Check the run's folder.") from None
        self._cut_torn_line()

    def append(self, event: str, *, checkpoint: bool = False, **fields: Any) -> None:
        """Write one event with its time (UTC, ISO 8601); numbers that are not finite become null.

        The line is in the file when this returns and outlives the process; with `checkpoint` it outlives the machine.
        Raises NarratorError when the disk is full; the file then ends with the last whole line.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps(_plain({"event": event, "time": now, **fields}), ensure_ascii=False, allow_nan=False)
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError(0, "the disk is full")
            if checkpoint:
                os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise NarratorError(f"{self.path} cannot be written ({error.strerror}). Free some space, "
                                "then resume the run from its last checkpoint.") from None

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _cut_torn_line(self) -> None:
        """Drop what a killed writer left after the last newline, which no reader has taken."""
        end = os.fstat(self._descriptor).st_size
        while end > 0:
            start = max(0, end - TAIL_BYTES)
            os.lseek(self._descriptor, start, os.SEEK_SET)
            newline = os.read(self._descriptor, end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        os.ftruncate(self._descriptor, end)


def read_events(path: Path, offset: int = 0, limit: int = -1) -> tuple[list[dict[str, Any]], int]:
    """The whole lines from byte `offset` on, and the offset to go on from; a torn last line waits for its end.

    limit: bytes to read at most, -1 for all.
    A file that is not there yet has no events. One that is shorter than `offset` was replaced and is read anew.
    """
    try:
        with Path(path).open("rb") as file:
            if offset > os.fstat(file.fileno()).st_size:
                offset = 0
            file.seek(offset)
            data = file.read(limit)
    except FileNotFoundError:
        return [], 0
    whole = data[:data.rfind(b"\n") + 1]
    return _parse(whole), offset + len(whole)


def newest_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events in the last 64 KB, newest first: enough to tell how a run stands, however long it is. Each is read
    when it is asked for, since one or two of them mostly tell."""
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read()
    except FileNotFoundError:
        return
    if size > TAIL_BYTES:
        data = data[data.find(b"\n") + 1:]
    for line in reversed(data[:data.rfind(b"\n") + 1].splitlines()):
        yield from _parse(line)


def _parse(whole: bytes) -> list[dict[str, Any]]:
    """Objects of whole lines; a line that a broken disk left unreadable is passed over."""
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinities as None, arrays' scalars as numbers, paths as text."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):  # a number of NumPy or torch, without importing either
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
