"""What the page describes goes into the history, unless this browser or this server keeps nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from narrator.history import History, history_of
from narrator.keeping import keeps_nothing
from narrator.pictures import open_picture
from narrator.records import Narration, NarratorError
from narrator.rows import BadRow
from narrator.ui.accessibility import status
from narrator.ui.visitors import owner

ALL, NOTHING = "all", "nothing"  # what the browser remembers; Gradio would not remember what is false


def wanted_state() -> Any:
    """The state that holds whether this browser wants its narrations kept."""
    import gradio as gr

    return gr.BrowserState(ALL, storage_key="narrator-keep", secret="narrator")


def wants(wanted: Any) -> bool:
    """Whether narrations are kept here. wanted: what the browser says, which may be anything."""
    return wanted != NOTHING and not keeps_nothing()


def keep(narration: Narration, paths: Sequence[Path], visitor: Any, wanted: Any) -> str:
    """The id of the entry, "" where nothing is kept. Raises NarratorError when it cannot be written."""
    mine = _history(visitor, wanted)
    return "" if mine is None else mine.file(narration, [open_picture(path) for path in paths])


async def file(narration: Narration, paths: Sequence[Path], visitor: Any, wanted: Any) -> tuple[str, str]:
    """(the id of the entry, a status line where something is to be told)."""
    return await asyncio.to_thread(_file, narration, paths, visitor, wanted)


async def add_sound(filed: Any, text: str, path: Path, visitor: Any, wanted: Any) -> str:
    """File the sound with the narration of that id, if it is in the narration's own words; a status line where
    something is to be told."""
    return await asyncio.to_thread(_add_sound, filed, text, path, visitor, wanted)


def _file(narration: Narration, paths: Sequence[Path], visitor: Any, wanted: Any) -> tuple[str, str]:
    try:
        return keep(narration, paths, visitor, wanted), ""
    except NarratorError as error:
        return "", status(f"Described in {narration.total_s:.1f} s. {error}", "error", spoken=narration.text)


def _add_sound(filed: Any, text: str, path: Path, visitor: Any, wanted: Any) -> str:
    mine = _history(visitor, wanted)
    if mine is None or not filed or not isinstance(filed, str):
        return ""
    try:
        if mine.find(filed).narration.text.split() != text.split():
            return ""
    except (NarratorError, BadRow):  # deleted meanwhile
        return ""
    try:
        mine.add_sound(filed, path)
    except NarratorError as error:
        return status(str(error), "error")
    return ""


def _history(visitor: Any, wanted: Any) -> History | None:
    """None where nothing is kept: a browser that keeps no secret is no error of whoever wants a description."""
    if not wants(wanted):
        return None
    try:
        return history_of(owner(visitor))
    except NarratorError:
        return None
