"""The worker of a queue: takes the oldest waiting job when a device is free, runs it in a process of its own, takes
the next as soon as a device is free again or another one is, and ends when nothing waits or runs. It imports no torch.
`queue.ensure_worker` starts it: `python -m trainer.worker RUNS`.

It may die at any moment: a job that it had started goes on by itself, and the next worker waits for that one's device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock

from narrator.processes import record, spawn
from narrator.records import NarratorError
from trainer.claims import NOT_NOW, NotNow, device, home, turn
from trainer.jobs import LOG, QUEUED, job_state, waiting, waits
from trainer.queue import PROJECT, WORKER, end, tail

LOOK_S = 0.02  # between two looks whether a job has begun
POLL_S = 0.5  # between two looks at a device that is busy with what this worker has not started
LAST_LINE = 300  # characters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Started:
    """A job that this worker has started."""

    folder: Path
    since: float  # when it began to wait
    process: subprocess.Popen[bytes]


def main() -> int:
    """Work off the queue of the folder on the command line."""
    try:
        work(Path(sys.argv[1]))
    except NarratorError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    return 0


def work(runs: Path) -> None:
    """Run the waiting jobs of this folder, one on each device at a time; nothing when another worker does already."""
    lock = filelock.FileLock(home(runs) / "worker.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return
    with turn(runs):
        record(home(runs) / WORKER)
    running: list[Started] = []
    while (folder := _next(runs, lock, running)) is not None:
        if (started := _begin(folder)) is not None:
            running.append(started)


def _next(runs: Path, lock: filelock.BaseFileLock, running: list[Started]) -> Path | None:
    """The first job of the queue, once a device is free; meanwhile, those that have ended are taken from the list.
    None when nothing waits and nothing runs: this worker is then none any more, and whoever submits a job after that
    finds no worker."""
    while True:
        for started in [one for one in running if one.process.poll() is not None]:
            running.remove(started)
            _end(started)
        with turn(runs):
            line = waiting(runs)
            if not line and not running:
                (home(runs) / WORKER).unlink(missing_ok=True)
                lock.release()
                return None
        if line and _is_free(runs):
            return line[0]
        if running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].process.wait(POLL_S)
        else:
            time.sleep(POLL_S)


def _is_free(runs: Path) -> bool:
    with contextlib.suppress(NotNow), device(runs, wait=False):
        return True
    return False


def _begin(folder: Path) -> Started | None:
    """Start the job, and wait until it has taken its device, or has ended. None when it could not be started."""
    since = waits(folder)[1]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"--- {now}: {folder.name}\n")
        process = spawn([sys.executable, "-m", "trainer", "resume", str(folder), "--queued"], folder / LOG, PROJECT)
    except OSError as error:
        _settle(folder, since, 1, f"The run could not be started ({error.strerror}). Check the permissions of its "
                                  "folder and the space on the disk, then resume it.")
        return None
    while process.poll() is None and (folder / QUEUED).exists():
        time.sleep(LOOK_S)
    return Started(folder=folder, since=since, process=process)


def _end(started: Started) -> None:
    """The job's process has ended, however it has."""
    code = started.process.returncode
    if code == NOT_NOW:
        time.sleep(POLL_S)
    else:
        _settle(started.folder, started.since, code)


def _settle(folder: Path, since: float, code: int, message: str | None = None) -> None:
    """See to it that the job has left the queue, and that its folder says how it ended where it could not itself.
    since: when it began to wait; a later time means that it has been put into the queue again meanwhile."""
    with contextlib.suppress(NarratorError), turn(folder.parent):
        state = job_state(folder).state
        if state not in ("queued", "interrupted") or (state == "queued" and waits(folder)[1] != since):
            return  # it told itself, or is to run again, or does
        if code < 0:
            end(folder, "interrupted", message=_killed(-code))
        else:
            end(folder, "failed", message=message or _last_line(folder) or f"It ended with exit code {code}.")


def _killed(number: int) -> str:
    """What the end by a signal may mean."""
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    memory = " If nobody did that, memory ran out: lower batch_size or image_size, or train adapters (lora)."
    return f"Its process was ended from outside ({name}).{memory if name == 'SIGKILL' else ''} It can be resumed."


def _last_line(folder: Path) -> str:
    """What it said last."""
    lines = [line for line in tail(folder, 20).splitlines() if line.strip()]
    return lines[-1].removeprefix("trainer: ")[:LAST_LINE] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
