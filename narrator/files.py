"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file (text as UTF-8) through a hidden one beside it; what was there before stays until the new one is
    whole, even when the machine goes down.

    Raises OSError, as when the disk is full, and leaves nothing behind then.
    """
    write_together({path: data.encode("utf-8") if isinstance(data, str) else data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """The same for several files: none is replaced before there is room for all."""
    parts = {path: path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part") for path in files}
    try:
        for path, data in files.items():
            with parts[path].open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):  # gone when all went well
                part.unlink()
