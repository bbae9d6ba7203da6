"""The data sets of this machine: below the data root, and offered by their names alone."""

from __future__ import annotations

import os
from pathlib import Path

from narrator.readers.gathering import LISTED

PROJECT = Path(__file__).resolve().parents[2]
MOST = 100  # of a list
_PATTERNS = ("*.jsonl", "*/*.jsonl", *(f"*/{name}" for name in LISTED if not name.endswith(".jsonl")))


def data_root() -> Path:
    """NARRATOR_DATA, else data/ of this project; it need not be there."""
    named = os.environ.get("NARRATOR_DATA")
    return Path(named).expanduser().resolve() if named else PROJECT / "data"


def data_sets() -> list[str]:
    """Files with rows, directly below the data root or in a folder there, by their names relative to it."""
    root = data_root()
    found = {path.relative_to(root).as_posix() for pattern in _PATTERNS for path in root.glob(pattern)
             if path.is_file() and not path.name.startswith(".")}
    return sorted(found)[:MOST]
