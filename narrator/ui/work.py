"""Runs a generator in a thread and hands its items to the event loop, so that Stop and a closed page end it at once."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

# How handlers are wired that a person presses: our own status line says what goes on, and the API does not name them.
QUIETLY: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# How choices are wired: who chooses again before the first choice is answered, as with an arrow key, gets the last one.
# Gradio by itself leaves out what comes meanwhile.
LATEST = QUIETLY | {"trigger_mode": "always_last"}
FLUSH_S = 0.05  # seconds between two looks; more often, the page's own messages become the bottleneck

_END = object()


def quietly(line: Any) -> dict[str, Any]:
    """QUIETLY for an event with many outputs. line: the status line, which alone is told how the event goes: the page
    would redraw every output of every event that there has been, at each further event."""
    return QUIETLY | {"show_progress_on": line}


async def newest(start: Callable[[threading.Event], Iterator[Any]]) -> AsyncIterator[Any]:
    """Yield the newest item of `start(stop)` every 50 ms at most, and its last one; its error is raised here.

    Leaving the loop, cancelling the task or closing the iterator sets `stop`, and the generator ends at its next item.
    """
    stop = threading.Event()
    items: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(start, stop, items), name="describe", daemon=True).start()
    try:
        while True:
            found, ended, error = _drain(items)
            if found is not None:
                yield found
            if error is not None:
                raise error
            if ended:
                return
            await asyncio.sleep(FLUSH_S)
    finally:
        stop.set()


def _pump(start: Callable[[threading.Event], Iterator[Any]], stop: threading.Event, items: queue.SimpleQueue) -> None:
    try:
        for item in start(stop):
            items.put((item, None))
            if stop.is_set():
                break
    except BaseException as error:  # carried to the task that waits, and raised there
        items.put((_END, error))
    else:
        items.put((_END, None))


def _drain(items: queue.SimpleQueue) -> tuple[Any, bool, BaseException | None]:
    """(newest item or None, whether the generator has ended, its error)."""
    found = None
    while True:
        try:
            item, error = items.get_nowait()
        except queue.Empty:
            return found, False, None
        if item is _END:
            return found, True, error
        found = item
