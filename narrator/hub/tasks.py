"""Merging, exporting and pushing in the background of the page, one at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import narrator
from narrator.adapters.placing import discard
from narrator.hub.children import Silence, answers
from narrator.hub.pulling import QUIETLY
from narrator.records import NarratorError
from narrator.turns import Stopped

ROOT = Path(narrator.__file__).resolve().parent.parent
COMMAND = [sys.executable, "-P", "-m", "narrator.hub.task"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is being done, how far it is in bytes (0 of 0 where nobody knows), and how it ended.

    does: "add", "merge", "export" or "push". made: the id of a new variant, the path of a file, or an address.
    """

    number: int
    does: str
    title: str  # "Export of GPT-2"
    done: int = 0
    total: int = 0
    state: Literal["running", "done", "stopped", "failed"] = "running"
    says: str = ""
    made: str = ""


class Tasks:
    """The latest task of this process. Two at once would only take each other's memory."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._latest: Task | None = None
        self._stop = threading.Event()

    def start(self, does: str, title: str, request: Mapping[str, Any], leftovers: tuple[Path, ...] = ()) -> Task:
        """Begin. request: arguments for narrator.hub.task. leftovers: what is deleted in the end, if it is there.

        Raises NarratorError while another one runs.
        """
        with self._guard:
            known = self._latest
            if known is not None and known.state == "running":
                raise NarratorError(f"{known.title} is under way: wait for it, or cancel it.")
            task = Task(number=known.number + 1 if known else 1, does=does, title=title)
            self._latest, self._stop = task, threading.Event()
        arguments = (task, {"do": does, **request}, leftovers, self._stop)
        threading.Thread(target=self._run, args=arguments, name="task", daemon=True).start()
        return task

    def cancel(self) -> bool:
        """Ask the running one to stop; whether there was one."""
        task = self.latest()
        if task is None or task.state != "running":
            return False
        self._stop.set()
        return True

    def latest(self) -> Task | None:
        """The one that runs, or that ended last."""
        with self._guard:
            return self._latest

    def _run(self, task: Task, request: dict[str, Any], leftovers: tuple[Path, ...], stop: threading.Event) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="narrator-task-"))
        end: dict[str, Any] = {"state": "failed", "says": f"{task.title} ended unexpectedly: try again."}
        try:
            end = self._ended(request, scratch, stop) or end
        except Stopped:
            end = {"state": "stopped", "says": f"Stopped. Nothing is left of it: {task.title}."}
        except Silence:
            end["says"] = f"{task.title} has been silent for too long: try again."
        finally:
            for path in leftovers:
                with contextlib.suppress(OSError):
                    discard(path)
            shutil.rmtree(scratch, ignore_errors=True)
            self._set(**end)

    def _ended(self, request: dict[str, Any], scratch: Path, stop: threading.Event) -> dict[str, Any] | None:
        """How the process says that it ended; None where it died."""
        environment = {**QUIETLY, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), "TRANSFORMERS_VERBOSITY": "error"}
        with contextlib.closing(answers(COMMAND, request, stop, environment, errors=None)) as told:
            for answer in told:
                if "refusal" in answer:
                    return {"state": "failed", "says": str(answer["refusal"])}
                if "made" in answer:
                    return {"state": "done", "says": str(answer["says"]), "made": str(answer["made"])}
                self._set(done=int(answer["done"]), total=int(answer["total"]))
        return None

    def _set(self, **values: Any) -> None:
        with self._guard:
            assert self._latest is not None
            self._latest = dataclasses.replace(self._latest, **values)


@functools.cache
def shared_tasks() -> Tasks:
    """Those of this process."""
    return Tasks()
