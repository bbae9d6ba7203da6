"""How an evaluation stands, read from its folder alone: page, server and process may die at any moment.

Beside the files that narrator.evaluation.plan names: process.json, who runs it; queued.json, who is going to; lock;
stop, the wish to stop it; end.json, why it ended without a report; problems.json, the variants that could not run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from narrator.evaluation.plan import METRICS, PLAN, RESULTS, Plan, read_plan
from narrator.files import write_whole
from narrator.keeping import history_folder
from narrator.processes import record, recorded
from narrator.records import NarratorError

STATES = ("new", "queued", "running", "scoring", "done", "stopped", "failed", "interrupted")
PROCESS, QUEUED, LOCK, STOP, END, PROBLEMS = ("process.json", "queued.json", "lock", "stop", "end.json",
                                              "problems.json")
HOME = Path(__file__).resolve().parents[2] / "evaluations"
_LATEST = 64  # rows that the rate is taken from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation as its folder tells it. done, total: rows of all variants together. variant: the one at work, ""
    else. rate: rows a second, left_s: seconds left, both None while unknown. message: one sentence for "failed" and
    "stopped". problems: why a variant could not run. stopping: it was asked to stop and is at its last batch."""

    id: str
    folder: Path
    state: str  # one of STATES
    plan: Plan | None  # None where it is damaged
    done: int = 0
    total: int = 0
    variant: str = ""
    rate: float | None = None
    left_s: float | None = None
    message: str = ""
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
    created: str = ""  # UTC, ISO 8601
    size_bytes: int = 0
    stopping: bool = False


@dataclasses.dataclass
class Counted:
    """What results.jsonl holds up to `offset` (bytes, whole lines): rows by variant, the latest seconds a row."""

    offset: int = 0
    rows: Counter[str] = dataclasses.field(default_factory=Counter)
    seconds: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=_LATEST))


_COUNTED: OrderedDict[str, Counted] = OrderedDict()  # by path, so that a poll reads only what is new
_COUNTING = threading.Lock()


def evaluations_folder(owner: str = "") -> Path:
    """Where the evaluations of one person ("") or of a visitor are: NARRATOR_EVALUATIONS, else `evaluations/` of the
    project; a visitor's beside the rest that is theirs."""
    if owner:
        name = hashlib.sha256(owner.encode()).hexdigest()[:32]  # whoever sees the folder learns no secret
        return history_folder() / "visitors" / name / "evaluations"
    named = os.environ.get("NARRATOR_EVALUATIONS", "")
    return Path(named).expanduser() if named else HOME


def state_of(folder: Path) -> Evaluation:
    """How the evaluation stands. Raises NarratorError where the folder is none, or its plan is damaged."""
    folder = Path(folder)
    pid, _ = recorded(folder / PROCESS)  # first: a process leaves its last word before it goes
    plan, about = read_plan(folder)
    counted, problems, end = _counted(folder / RESULTS), _json(folder / PROBLEMS), _json(folder / END)
    able = [name for name in plan.variants if name not in problems]
    rows = about["rows"]
    total = sum(counted.rows[name] if name in problems else rows for name in plan.variants)
    done = sum(min(counted.rows[name], rows) for name in plan.variants)
    state = _state(folder, pid is not None, done >= total, bool(counted.rows), end)
    working = next((name for name in able if counted.rows[name] < rows), "") if state == "running" else ""
    each = sum(counted.seconds) / len(counted.seconds) if state == "running" and counted.seconds else 0.0
    return Evaluation(
        id=folder.name, folder=folder, state=state, plan=plan, done=done, total=total, variant=working,
        rate=1 / each if each else None, left_s=(total - done) * each if each else None,
        message=str(end.get("message", "")) if state in ("failed", "stopped") else "", problems=problems,
        created=about["created"], size_bytes=_size(folder),
        stopping=state in ("running", "scoring") and (folder / STOP).exists())


def list_evaluations(root: Path) -> list[Evaluation]:
    """Every evaluation below `root`, the newest first; a damaged one is "failed" and says so."""
    if not root.is_dir():
        return []
    found = []
    for folder in root.iterdir():
        if not folder.name.startswith(".") and (folder / PLAN).is_file():
            try:
                found.append(state_of(folder))
            except NarratorError as error:
                found.append(Evaluation(id=folder.name, folder=folder, state="failed", plan=None, message=str(error)))
    return sorted(found, key=lambda one: (one.created, [int(part) if part.isdigit() else part
                                                        for part in re.split(r"(\d+)", one.id)][-2:]), reverse=True)


def ask_to_stop(folder: Path) -> None:
    """Wish it to stop, from any process; one that waits leaves the queue. Nothing happens where it does not run."""
    state = state_of(folder).state
    try:
        if state in ("running", "scoring", "queued"):
            (folder / STOP).touch()
    except OSError as error:
        raise NarratorError(f"{folder} cannot be written ({error.strerror}). Check its permissions.") from None


def remove(folder: Path) -> None:
    """Delete an evaluation. Raises NarratorError while it runs or waits, and where it cannot be deleted."""
    folder = Path(folder)
    if not (folder / PLAN).is_file():
        raise NarratorError(f"{folder} is not an evaluation: it has no {PLAN}.")
    with held(folder):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise NarratorError(f"{folder} cannot be deleted ({error.strerror}). Check its permissions.") from None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only one that changes the evaluation; NarratorError where somebody else does."""
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise NarratorError(f"The evaluation {folder.name} is running: stop it first, or wait for it.") from None
    except OSError as error:
        raise NarratorError(f"{folder} cannot be locked ({error.strerror}). Check its permissions.") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[None]:
    """Be the process that runs the evaluation; what an earlier one left of its end is gone."""
    with held(folder):
        try:
            record(folder / PROCESS)
            if not (folder / QUEUED).exists():  # a wish to stop that came while it waited counts
                (folder / STOP).unlink(missing_ok=True)
            for name in (QUEUED, END, PROBLEMS):
                (folder / name).unlink(missing_ok=True)
            yield
        except OSError as error:
            raise NarratorError(f"{folder} cannot be written ({error.strerror}). Check its permissions and the space "
                                "on the disk, then resume.") from None
        finally:
            with contextlib.suppress(OSError):
                (folder / STOP).unlink(missing_ok=True)
                (folder / PROCESS).unlink(missing_ok=True)


def ended(folder: Path, state: str, message: str) -> None:
    """Leave word of an end without a report. Raises OSError where that cannot be written."""
    write_whole(folder / END, json.dumps({"state": state, "message": message}) + "\n")


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The results so far; a line that was torn when a process died is not one, nor is what is no JSON object."""
    try:
        with path.open("rb") as file:
            for line in file:
                value = _object(line)
                if value is not None:
                    yield value
    except FileNotFoundError:
        return


def append(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Add lines in one write, after cutting off a torn one. Raises OSError."""
    data = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at:  # back to the end of the last whole line
            step = min(at, 4096)
            file.seek(at - step)
            found = file.read(step).rfind(b"\n")
            if found >= 0:
                at += found + 1 - step
                break
            at -= step
        if at < end:
            file.truncate(at)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _state(folder: Path, alive: bool, all_done: bool, begun: bool, end: Mapping[str, Any]) -> str:
    if (folder / METRICS).is_file():
        return "done"
    if alive:
        return "scoring" if all_done and begun else "running"
    if recorded(folder / QUEUED)[0] is not None:
        return "stopped" if (folder / STOP).exists() else "queued"
    if end.get("state") in ("stopped", "failed"):
        return str(end["state"])
    return "interrupted" if begun or (folder / PROCESS).exists() else "new"


def _counted(path: Path) -> Counted:
    """The lines of a growing file, read on from where the last call ended."""
    with _COUNTING:
        known = _COUNTED.pop(str(path), Counted())
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < known.offset:
                    known = Counted()
                file.seek(known.offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    known.offset += len(line)
                    value = _object(line)
                    if value is not None:
                        known.rows[str(value.get("variant"))] += 1
                        if isinstance(value.get("seconds"), (int, float)):
                            known.seconds.append(float(value["seconds"]))
        except OSError:
            known = Counted()
        _COUNTED[str(path)] = known
        while len(_COUNTED) > 100:
            _COUNTED.popitem(last=False)
        return Counted(offset=known.offset, rows=Counter(known.rows), seconds=known.seconds.copy())


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _size(folder: Path) -> int:
    """Bytes of its files, kept pictures left out."""
    with contextlib.suppress(OSError):
        return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
    return 0
