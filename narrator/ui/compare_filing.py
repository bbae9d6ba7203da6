"""What the Compare tab makes goes into the history as on the Narrate tab: each finished text is a narration, filed once
its name may be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narrator.records import Narration, NarratorError
from narrator.ui import filing


class Filing:
    """Files the narrations of a comparison, each once. path: of the picture."""

    def __init__(self, path: str | None, visitor: Any, wanted: Any) -> None:
        self._about = (path, visitor, wanted)
        self._tasks: dict[int, asyncio.Task[tuple[str, str]]] = {}

    def see(self, narrations: Mapping[int, Narration]) -> dict[int, str]:
        """The ids, by place, of those that are filed by now. What is new is on its way, even if the page is closed
        meanwhile."""
        for place in narrations.keys() - self._tasks.keys():
            self._tasks[place] = asyncio.create_task(asyncio.to_thread(_file, narrations[place], *self._about))
        return {place: task.result()[0] for place, task in self._tasks.items() if task.done() and task.result()[0]}

    async def all(self) -> tuple[dict[int, str], str]:
        """(the ids of all that were seen, why some were not kept or "")."""
        return _gathered({place: await task for place, task in sorted(self._tasks.items())})


def file_all(narrations: Mapping[int, Narration], path: str | None, visitor: Any, wanted: Any
             ) -> tuple[dict[int, str], str]:
    """The same at once."""
    return _gathered({place: _file(one, path, visitor, wanted) for place, one in sorted(narrations.items())})


def _file(narration: Narration, path: str | None, visitor: Any, wanted: Any) -> tuple[str, str]:
    """(the id, why there is none or "")."""
    try:
        paths = [Path(path)] if path is not None and narration.image_sha256 else []
        return filing.keep(narration, paths, visitor, wanted), ""
    except NarratorError as error:
        return "", str(error)


def _gathered(filed: Mapping[int, tuple[str, str]]) -> tuple[dict[int, str], str]:
    """One reason stands for all: a full disk is full for each of them."""
    problem = next((problem for _, problem in filed.values() if problem), "")
    return {place: name for place, (name, _) in filed.items() if name}, problem
