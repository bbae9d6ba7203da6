"""Small pictures inside the page: nothing of the disk is served for them."""

from __future__ import annotations

import base64
import functools
import io
from html import escape
from pathlib import Path
from typing import Any

from narrator.pictures import open_picture
from narrator.records import NarratorError

SIDE = 320  # pixels of the longer side


def thumbnail(place: Any, words: str, side: int = SIDE) -> str:
    """A small picture inside the page; "" where it cannot be opened. words: what a screen reader says. side: pixels of
    its longer side at most."""
    try:
        path = Path(str(place))
        data = _small(path, path.stat().st_mtime_ns, side)
    except (OSError, ValueError, NarratorError):
        return ""
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(words)}" loading="lazy">'


@functools.lru_cache(maxsize=256)
def _small(path: Path, changed_ns: int, side: int) -> str:
    picture = open_picture(path)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
