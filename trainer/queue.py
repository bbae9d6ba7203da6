"""The queue of the training jobs: submitted here, run one after another by a detached worker, in order of submission.

A waiting job is a file in its run's folder and costs no process. Whatever dies, the folders still say who waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from narrator.processes import reap, record, recorded, spawn
from narrator.records import NarratorError
from trainer import jobs
from trainer.claims import HOME, home, turn
from trainer.config import parse_config
from trainer.events import FILE, EventLog
from trainer.jobs import LOG, QUEUED, REQUEST, Job, job_state, waiting, write_whole

PROJECT = Path(__file__).resolve().parents[1]  # where `python -m trainer` is found
WORKER, WORKER_LOG = "worker.json", "worker.log"
TAIL_BYTES = 1 << 18
LINE_BYTES = 1024  # of a line, to reckon with: a page asks for the last ones again and again
GAP = 1e-6  # places that are nearer to each other than this are counted anew


def submit(config: Mapping[str, Any], places: Mapping[str, Any], *, runs: Path, request: str | None = None) -> Job:
    """A new run at the end of the queue, and a worker that sees to it.

    config: what a preset holds (dataclasses.asdict of a TrainingConfig); it is checked here.
    places: data_root (folder of the data sets), out (folder of the variant to come), command (the line that does the
    same in a terminal) and, if wished, strict (stop at the first bad row). Relative folders are taken from here.
    request: a name for this wish; the same one again, from whichever process, gives the same job and makes none.
    Raises NarratorError for a configuration that is none, and when the folder cannot be written.
    """
    config = jobs.plain(config)
    name = parse_config(config, "The configuration").name
    whole = {"command": "", "strict": False, **places,
             **{key: str(Path(places[key]).resolve()) for key in ("data_root", "out")}}
    with turn(runs):
        folder = of_request(runs, request)
        if folder is None:
            wish = {REQUEST: json.dumps({"request": request}) + "\n"} if request is not None else {}
            folder = jobs.create_job(name, config, runs, whole, {QUEUED: _wait(_end(runs), time.time()), **wish})
    ensure_worker(runs)
    return job_state(folder)


def of_request(runs: Path, request: str | None) -> Path | None:
    """The run that was made for this request, if there is one."""
    for path in runs.glob(f"[!.]*/{REQUEST}") if request is not None else ():
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # damaged, or removed meanwhile
            if json.loads(path.read_text(encoding="utf-8"))["request"] == request:
                return path.parent
    return None


def _wait(place: float, since: float) -> str:
    return json.dumps({"place": place, "since": since}) + "\n"


def _end(runs: Path) -> float:
    """The place behind all that wait."""
    places = [jobs.waits(folder)[0] for folder in waiting(runs)]
    return max((place for place in places if place < float("inf")), default=0.0) + 1.0


def stop(folder: Path) -> Job:
    """A running job is asked to end after its step, with a checkpoint (SIGTERM; the call does not wait for it); a
    queued one leaves the queue. Both become "stopped" and can be resumed. One that has ended stays as it is.
    Raises NarratorError when the folder is no run, or its process belongs to another user."""
    folder = Path(folder)
    with _known(folder):
        job = job_state(folder)
        if job.state == "queued":
            end(folder, "stopped")
        elif job.pid is not None:
            try:
                os.kill(job.pid, signal.SIGTERM)  # on Windows this ends it at once: it goes on from its last checkpoint
            except ProcessLookupError:
                pass  # it has just ended
            except PermissionError:
                raise NarratorError(f"{folder.name} was started by another user, who alone can stop it.") from None
    return job_state(folder)


def leave(folder: Path) -> Job:
    """A queued job leaves the queue and becomes "stopped". Raises NarratorError when it is not queued."""
    folder = Path(folder)
    with _known(folder):
        if job_state(folder).state != "queued":
            raise _not_queued(folder)
        end(folder, "stopped")
    return job_state(folder)


def _not_queued(folder: Path) -> NarratorError:
    return NarratorError(f"{folder.name} is not in the queue. `python -m trainer queue` shows what is.")


def end(folder: Path, event: str, **fields: Any) -> None:
    """Let the job, which no process runs, leave the queue with `event` as its last one. Call it within `turn`."""
    with contextlib.suppress(NarratorError), EventLog(folder / FILE) as events:  # the disk may be full
        events.append(event, checkpoint=True, **fields)
    (folder / QUEUED).unlink(missing_ok=True)


@contextlib.contextmanager
def _known(folder: Path) -> Iterator[None]:
    """The turn on the queue of the run's folder. Raises NarratorError when it is no run."""
    jobs.check_run(folder)  # before anything is made beside it
    with turn(folder.parent):
        jobs.check_run(folder)
        yield


def resume(folder: Path) -> Job:
    """The job goes to the end of the queue, to go on from its last checkpoint; one that is queued keeps its place.
    Raises NarratorError when it is done or running."""
    folder = Path(folder)
    with _known(folder):
        job = job_state(folder)
        if job.state in ("done", "running"):
            raise NarratorError(f"{folder.name} is {job.state} already." if job.state == "done" else
                                f"{folder.name} is running: stop it first, or wait for it.")
        if job.state != "queued":
            _write_wait(folder, _end(folder.parent), time.time())
    ensure_worker(folder.parent)
    return job_state(folder)


def _write_wait(folder: Path, place: float, since: float) -> None:
    try:
        write_whole(folder / QUEUED, _wait(place, since))
    except OSError as error:
        raise NarratorError(f"{folder} cannot be written ({error.strerror}). Free some space and try again.") from None


def remove(folder: Path) -> None:
    """Delete the run's folder with its checkpoints; the variant that it made is kept. Raises NarratorError when it is
    running or queued."""
    folder = Path(folder)
    with _known(folder):
        job = job_state(folder)
        if job.state == "queued" or jobs.live_pid(folder) is not None:
            raise NarratorError(f"{folder.name} is {job.state}: stop it first, or wait for its end.")
        gone = folder.with_name(f".{folder.name}.gone")  # out of sight at once, however long the rest takes
        try:
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
        except OSError as error:
            raise NarratorError(f"{folder} cannot be removed ({error.strerror}). Check its permissions.") from None
    shutil.rmtree(gone, ignore_errors=True)


def move(folder: Path, by: int) -> None:
    """A queued job goes so many places on in the queue: -1 one earlier, +1 one later; no further than its ends.
    Raises NarratorError when it is not queued."""
    folder = Path(folder)
    with _known(folder):
        line = waiting(folder.parent)
        if job_state(folder).state != "queued":
            raise _not_queued(folder)
        rest = [other for other in line if other != folder]
        at = min(max(0, line.index(folder) + by), len(rest))
        before = jobs.waits(rest[at - 1])[0] if at > 0 else None
        after = jobs.waits(rest[at])[0] if at < len(rest) else None
        low = before if before is not None else (after or 0.0) - 2.0
        high = after if after is not None else low + 2.0
        if GAP < high - low < float("inf"):
            _write_wait(folder, (low + high) / 2, jobs.waits(folder)[1])  # one file: never half changed
        else:
            for number, other in enumerate([*rest[:at], folder, *rest[at:]], start=1):
                _write_wait(other, float(number), jobs.waits(other)[1])


def queued(runs: Path) -> list[Job]:
    """The jobs that wait, the next one first."""
    found = []
    for folder in waiting(Path(runs)):
        with contextlib.suppress(NarratorError):  # removed meanwhile
            found.append(job_state(folder))
    return [job for job in found if job.state == "queued"]


def ensure_worker(runs: Path) -> None:
    """Start the queue's worker where jobs wait and none lives. Cheap enough to call at every look at the page.
    Raises NarratorError when it cannot be started."""
    runs = Path(runs)
    if not waiting(runs) or recorded(runs / HOME / WORKER)[0] is not None:
        return
    with turn(runs):
        if not waiting(runs) or recorded(home(runs) / WORKER)[0] is not None:
            return
        try:
            process = spawn([sys.executable, "-m", "trainer.worker", str(runs.resolve())], home(runs) / WORKER_LOG,
                            PROJECT)
            reap(process)
            record(home(runs) / WORKER, process.pid)
        except OSError as error:
            raise NarratorError(f"The queue cannot be worked off ({error.strerror}). Check the permissions of {runs} "
                                "and the space on the disk.") from None


def tail(folder: Path, lines: int = 200) -> str:
    """The last lines of what the run has said (its log.txt), fewer where they are long; "" while it says nothing."""
    said, _ = said_since(folder, -min(TAIL_BYTES, lines * LINE_BYTES))
    return "".join(f"{line}\n" for line in said.splitlines()[-lines:])


def said_since(folder: Path, offset: int) -> tuple[str, int]:
    """The whole lines from byte `offset` of the log on, as a terminal would show them, and the offset to go on from.
    offset: a negative one counts from the end."""
    try:
        with (Path(folder) / LOG).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = max(0, size + offset) if offset < 0 else min(offset, size)
            file.seek(offset)
            said = file.read()
    except FileNotFoundError:
        return "", 0
    whole = said[:said.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    shown = [line.rpartition("\r")[2] for line in lines]  # of a line that was written over again and again, its end
    return "\n".join(map(_plain, shown)), offset + len(whole)


def _plain(line: str) -> str:
    """The line without what a terminal would take for a command."""
    return line if line.isprintable() else "".join(sign for sign in line if sign == "\t" or sign.isprintable())
