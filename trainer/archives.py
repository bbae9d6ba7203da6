"""Uploads become data to learn from: those of narrator.archives, and tables of texts without pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrator import archives
from narrator.readers.rows import BadRow
from narrator.unpacking import Tell, nobody
from trainer.scenes import read_scenes, text_alone


def describe_upload(files: Sequence[Path], into: Path, tell: Tell = nobody) -> dict[str, Any]:
    """`narrator.archives.describe_upload`, which takes captions without pictures, too."""
    return archives.describe_upload(files, into, tell, _texts)


def _texts(table: Path) -> archives.Count | None:
    if not text_alone(table):
        return None

    def count() -> tuple[int, int]:
        bad: list[BadRow] = []
        return len(read_scenes(table, split=None, bad=bad)), len(bad)
    return count
