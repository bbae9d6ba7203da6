"""The worker of a queue: takes the oldest waiting job when the device is free, runs it in a process of its own, takes
the next, and ends when nothing waits. `queue.ensure_worker` starts it: `python -m trainer.worker RUNS`. It imports no
torch.

It may die at any moment: a job that it had started goes on by itself, and the next worker waits for that one's device.
"""

from __future__ import annotations

import contextlib
import datetime
import signal
import sys
import time
from pathlib import Path

import filelock

from narrator.processes import record, spawn
from narrator.records import NarratorError
from trainer.claims import NOT_NOW, NotNow, device, home, turn
from trainer.jobs import LOG, job_state, waiting, waits
from trainer.queue import PROJECT, WORKER, end, tail

POLL_S = 0.5  # between two looks at a device that is busy with what this worker has not started
LAST_LINE = 300  # characters


def main() -> int:
    """Work off the queue of the folder on the command line."""
    try:
        work(Path(sys.argv[1]))
    except NarratorError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    return 0


def work(runs: Path) -> None:
    """Run the waiting jobs of this folder one after another; nothing at all when another worker does already."""
    lock = filelock.FileLock(home(runs) / "worker.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return
    with turn(runs):
        record(home(runs) / WORKER)
    while (folder := _next(runs, lock)) is not None:
        _run(folder)


def _next(runs: Path, lock: filelock.BaseFileLock) -> Path | None:
    """The first job of the queue, once the device is free. None when nothing waits: this worker is then none any more,
    and whoever submits a job after that finds no worker."""
    while True:
        with turn(runs):
            line = waiting(runs)
            if not line:
                (home(runs) / WORKER).unlink(missing_ok=True)
                lock.release()
                return None
        if _is_free(runs):
            return line[0]
        time.sleep(POLL_S)


def _is_free(runs: Path) -> bool:
    with contextlib.suppress(NotNow), device(runs, wait=False):
        return True
    return False


def _run(folder: Path) -> None:
    """Run the job to its end, however it ends."""
    since = waits(folder)[1]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"--- {now}: {folder.name}\n")
        process = spawn([sys.executable, "-m", "trainer", "resume", str(folder), "--queued"], folder / LOG, PROJECT)
    except OSError as error:
        _settle(folder, since, 1, f"The run could not be started ({error.strerror}). Check the permissions of its "
                                  "folder and the space on the disk, then resume it.")
        return
    code = process.wait()
    if code == NOT_NOW:
        time.sleep(POLL_S)
    else:
        _settle(folder, since, code)


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
