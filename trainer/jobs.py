"""Job folders: made here, held by one process at a time, and their state read from disk.

Nothing about a job is kept in memory: page, server and trainer may die at any moment, and the folder still tells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import psutil
import yaml

from narrator.records import NarratorError
from trainer.events import FILE, TAIL_BYTES, last_events, read_events

STATES = ("done", "running", "stopped", "failed", "interrupted")
CONFIG, MANIFEST, PROCESS, LOCK = "config.yaml", "variant.yaml", "process.json", "job.lock"
CLOCK_S = 2.0  # seconds that a start time may seem to move when the clock is set; process ids do not come back so soon


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A run as its folder tells it. step and total_steps: optimiser steps, 0 while unknown."""

    id: str
    folder: Path
    state: str  # one of STATES
    step: int = 0
    total_steps: int = 0
    pid: int | None = None  # while running


def create_job(name: str, config: Mapping[str, Any], runs: Path = Path("runs")) -> Path:
    """A new folder runs/<name>-<UTC time> with config.yaml in it; NarratorError when it cannot be made."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) or len(name) > 80:
        raise NarratorError(f"A run cannot be named {name[:80]!r}. Use small letters, digits and single hyphens "
                            "between them, such as photo-captioner.")
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        runs.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = runs / (f"{name}-{stamp}" if number == 1 else f"{name}-{stamp}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                write_whole(folder / CONFIG, yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True))
                return folder
    except OSError as error:
        raise NarratorError(f"No run can be made in {runs} ({error.strerror}). Check its permissions and the "
                            "space on the disk.") from None
    raise NarratorError(f"{runs} already holds a thousand runs of {name} of this second. Wait a second and try again.")


def write_whole(path: Path, text: str) -> None:
    """Write the file so that it appears whole or not at all, even when the machine goes down."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def hold_job(folder: Path) -> Iterator[None]:
    """Make this process the one that runs the job; NarratorError when another one does, or there is no such job."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise NarratorError(f"{folder} is not a run: it has no {CONFIG}. `python -m trainer list` names the runs.")
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        held = live_pid(folder)
        by = f" by process {held}" if held is not None else ""
        raise NarratorError(f"{folder.name} is already being run{by}. Wait for it, or stop it first.") from None
    except OSError as error:
        raise NarratorError(f"{folder} cannot be locked ({error.strerror}). Check its permissions.") from None
    try:
        _record(folder)
        yield
    finally:
        (folder / PROCESS).unlink(missing_ok=True)
        lock.release()


def _record(folder: Path) -> None:
    """Leave word which process runs the job."""
    me = psutil.Process()
    try:
        write_whole(folder / PROCESS, json.dumps({"pid": me.pid, "started": me.create_time()}) + "\n")
    except OSError as error:
        raise NarratorError(f"{folder} cannot be written ({error.strerror}). Check its permissions and the space "
                            "on the disk.") from None


def live_pid(folder: Path) -> int | None:
    """The process that runs the job, known by pid and start time, so that a reused pid is not taken for it."""
    try:
        recorded = json.loads((folder / PROCESS).read_text(encoding="utf-8"))
        pid, started = int(recorded["pid"]), float(recorded["started"])
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) <= CLOCK_S
    except (OSError, ValueError, KeyError, TypeError, OverflowError, psutil.Error):
        return None  # never started, ended, or not a record
    return pid if alive else None


def job_state(folder: Path) -> Job:
    """How the job of this folder stands; NarratorError when the folder is no job's."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise NarratorError(f"{folder} is not a run: it has no {CONFIG}. `python -m trainer list` names the runs.")
    pid = live_pid(folder)
    events = last_events(folder / FILE)
    first = read_events(folder / FILE, limit=TAIL_BYTES)[0]  # a long run names its length only at its start
    last = events[-1].get("event") if events else None
    if (folder / MANIFEST).is_file():
        state = "done"
    elif pid is not None:
        state = "running"
    else:
        state = str(last) if last in ("stopped", "failed") else "interrupted"
    return Job(id=folder.name, folder=folder, state=state, step=_latest(events, "step"),
               total_steps=_latest(first + events, "total_steps"), pid=pid if state == "running" else None)


def list_jobs(runs: Path = Path("runs")) -> list[Job]:
    """Every job below `runs`, the newest first."""
    if not runs.is_dir():
        return []
    folders = [folder for folder in runs.iterdir() if (folder / CONFIG).is_file()]
    return [job_state(folder) for folder in sorted(folders, key=_age, reverse=True)]


def _age(folder: Path) -> tuple[str, str]:
    """The time in the name of the folder, then the name."""
    found = re.search(r"\d{8}T\d{6}Z(-\d+)?$", folder.name)
    return (found.group() if found else "", folder.name)


def _latest(events: list[dict[str, Any]], name: str) -> int:
    """The newest whole number called `name`, 0 when there is none."""
    return next((event[name] for event in reversed(events) if isinstance(event.get(name), int)), 0)


def _plain(value: Any) -> Any:
    """`value` as YAML can hold it: tuples as lists, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
