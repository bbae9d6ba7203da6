"""Job folders: made here, held by one process at a time, and their state read from disk.

Nothing about a job is kept in memory: page, server and trainer may die at any moment, and the folder still tells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import yaml

from narrator.files import write_whole
from narrator.processes import record, recorded
from narrator.records import NarratorError
from trainer.events import FILE, TAIL_BYTES, newest_events, read_events

STATES = ("queued", "running", "done", "stopped", "failed", "interrupted")
LIVE = ("queued", "running")  # of them, those that need nobody to go on
CONFIG, MANIFEST, PROCESS, LOCK = "config.yaml", "variant.yaml", "process.json", "job.lock"
PLACES = "places.json"  # where the run reads data and leaves its variant, and the command that began it
QUEUED = "queued.json"  # in the folder of a job that waits: its place, which orders the queue, and since when
REQUEST = "request.json"  # who asked for the job, so that one wish makes one job
LOG = "log.txt"  # what a run says that the queue started
STEPS = ("step", "total_steps")  # what events tell of how far a run is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A run as its folder tells it. step and total_steps: optimiser steps, 0 while unknown."""

    id: str
    folder: Path
    state: str  # one of STATES
    step: int = 0
    total_steps: int = 0
    pid: int | None = None  # while running
    position: int | None = None  # while queued: its place in the queue, from 1
    message: str = ""  # why it failed or was interrupted, and what to do about it, as far as that is known


def create_job(name: str, config: Mapping[str, Any], runs: Path = Path("runs"),
               places: Mapping[str, Any] | None = None, more: Mapping[str, str] | None = None) -> Path:
    """A new folder runs/<name>-<UTC time>, which appears whole; NarratorError when it cannot be made.

    It holds config.yaml, places.json when there are `places`, and the files of `more`, name -> text.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or len(name) > 80:
        raise NarratorError(f"A run cannot be named {name[:80]!r}. Use small letters, digits and single hyphens "
                            "between them, such as photo-captioner.")
    files = {CONFIG: yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True), **(more or {})}
    if places is not None:
        files[PLACES] = json.dumps(plain(places)) + "\n"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        part = runs / f".{name}.{os.urandom(8).hex()}.part"  # looked at by nobody
        try:
            part.mkdir()
            for file, text in files.items():
                write_whole(part / file, text)
            return _named(part, runs, name)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise NarratorError(f"No run can be made in {runs} ({error.strerror}). Check its permissions and the "
                            "space on the disk.") from None


def _named(part: Path, runs: Path, name: str) -> Path:
    """Give the folder the first free name of this second."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, 1000):
        folder = runs / (f"{name}-{stamp}" if number == 1 else f"{name}-{stamp}-{number}")
        try:
            return part.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # a run of that name, which is never empty
                raise
    raise NarratorError(f"{runs} already holds a thousand runs of {name} of this second. Wait a second and try again.")


@contextlib.contextmanager
def hold_job(folder: Path) -> Iterator[None]:
    """Make this process the one that runs the job; NarratorError when another one does, or there is no such job."""
    folder = Path(folder)
    check_run(folder)
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise already_run(folder) from None
    except OSError as error:
        raise NarratorError(f"{folder} cannot be locked ({error.strerror}). Check its permissions.") from None
    try:
        leave_word(folder)
        yield
    finally:
        (folder / PROCESS).unlink(missing_ok=True)
        lock.release()


def check_run(folder: Path) -> None:
    """Raise NarratorError unless the folder is a run's."""
    if not (folder / CONFIG).is_file():
        raise NarratorError(f"{folder} is not a run: it has no {CONFIG}. `python -m trainer list` names the runs.")


def already_run(folder: Path) -> NarratorError:
    """What to say to the second one who wants to run a job."""
    held = live_pid(folder)
    by = f" by process {held}" if held is not None else ""
    return NarratorError(f"{folder.name} is already being run{by}. Wait for it, or stop it first.")


def leave_word(folder: Path) -> None:
    """Leave word that this process runs the job. Raises NarratorError when the folder cannot be written."""
    try:
        record(folder / PROCESS, told=_told(folder))
    except OSError as error:
        raise NarratorError(f"{folder} cannot be written ({error.strerror}). Check its permissions and the space "
                            "on the disk.") from None


def _told(folder: Path) -> int:
    """Bytes of the run's events so far."""
    try:
        return (folder / FILE).stat().st_size
    except OSError:
        return 0


def live_pid(folder: Path) -> int | None:
    """The process that runs the job, known by pid and start time, so that a reused pid is not taken for it."""
    return recorded(folder / PROCESS)[0]


def waiting(runs: Path) -> list[Path]:
    """The folders of the jobs that wait, the next one first."""
    if not runs.is_dir():
        return []
    return sorted((path.parent for path in runs.glob(f"[!.]*/{QUEUED}") if (path.parent / CONFIG).is_file()),
                  key=lambda folder: (waits(folder)[0], folder.name))


def waits(folder: Path) -> tuple[float, float]:
    """Where a waiting job stands, the smaller number first, and since when (seconds since 1970), which tells one wait
    of it from the next. A file that says nothing stands last."""
    try:
        word = json.loads((folder / QUEUED).read_text(encoding="utf-8"))
        place, since = float(word["place"]), float(word["since"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return math.inf, 0.0
    return (math.inf if math.isnan(place) else place), since


def job_state(folder: Path) -> Job:
    """How the job of this folder stands; NarratorError when the folder is no job's."""
    folder = Path(folder)
    check_run(folder)
    return _state(folder, waiting(folder.parent) if (folder / QUEUED).exists() else [])


def _state(folder: Path, line: list[Path]) -> Job:
    """How the job stands. line: the folders that wait, read before: a job leaves word of its process before it leaves
    the queue, and of its end before its process goes, so that whoever reads in this order always finds it."""
    pid, word = recorded(folder / PROCESS)
    last, step, total = _newest(folder / FILE)
    state = "interrupted"
    if (folder / MANIFEST).is_file():
        state = "done"
    elif pid is not None:
        state = "running"
    elif folder in line:
        state = "queued"
    elif last.get("event") in ("stopped", "failed") and _told(folder) > word.get("told", -1):  # not of the run before
        state = str(last["event"])
    told = state == last.get("event") and state in ("failed", "interrupted")
    return Job(id=folder.name, folder=folder, state=state, step=step, total_steps=total,
               pid=pid if state == "running" else None, position=line.index(folder) + 1 if state == "queued" else None,
               message=str(last.get("message", "")) if told else "")


def list_jobs(runs: Path = Path("runs")) -> list[Job]:
    """Every job below `runs`, the newest first."""
    if not runs.is_dir():
        return []
    line = waiting(runs)
    folders = [folder for folder in runs.iterdir() if folder.name[0] != "." and (folder / CONFIG).is_file()]
    return [_state(folder, line) for folder in sorted(folders, key=_age, reverse=True)]


def _age(folder: Path) -> tuple[str, str]:
    """The time in the name of the folder, then the name."""
    found = re.search(r"\d{8}T\d{6}Z(-\d+)?$", folder.name)
    return (found.group() if found else "", folder.name)


def _newest(path: Path) -> tuple[dict[str, Any], int, int]:
    """(the last event, the newest step, the newest count of all steps) in the events of a run: {} and 0 where there is
    none. No more lines are read than that takes: a page looks at every run again and again."""
    last: dict[str, Any] = {}
    found: dict[str, int] = {}
    for event in newest_events(path):
        last = last or event
        found = {name: event[name] for name in STEPS if isinstance(event.get(name), int)} | found
        if len(found) == len(STEPS):
            break
    else:  # a long run names its length only at its start
        named = (event.get("total_steps") for event in reversed(read_events(path, limit=TAIL_BYTES)[0]))
        found.setdefault("total_steps", next((count for count in named if isinstance(count, int)), 0))
    return last, found.get("step", 0), found["total_steps"]


def plain(value: Any) -> Any:
    """`value` as YAML can hold it: tuples as lists, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
