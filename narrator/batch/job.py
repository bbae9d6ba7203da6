"""The process of one batch of the page: `python -m narrator.batch.job FOLDER LOCK`, with the folder that
narrator.batch.jobs made. It waits for its turn, describes, and tells how far it is in progress.json.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from narrator.batch import Progress, resumable, run
from narrator.batch.jobs import PROCESS, RESULT, STOP, Batch, Batches, tell
from narrator.keeping import Shelf
from narrator.processes import record
from narrator.records import NarratorError

LOOK_S = 0.2  # seconds between two looks whether it shall stop
TELL_S = 0.5  # seconds between two words of how far it is


def main(arguments: list[str]) -> int:
    """Run the batch in the folder, and say how it ended. The exit status is 1 where a person has to mend something."""
    folder, lock = Path(arguments[0]), Path(arguments[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    record(folder / PROCESS)
    batch = found(folder)
    stop = threading.Event()
    threading.Thread(target=_listen, args=(folder / STOP, stop), daemon=True).start()
    last: dict[str, object] = {"done": batch.done, "failed": batch.failed, "duplicates": batch.duplicates,
                               "total": batch.total}
    try:
        with _turn(lock, folder, stop, last):
            if stop.is_set():
                tell(folder, **last, state="stopped")
                return 0
            return _run(batch, stop, last)
    except NarratorError as error:
        tell(folder, **{**last, "says": str(error).replace("go on with --resume", "press Resume")}, state="failed")
        logging.error("%s", error)
        return 1


def found(folder: Path) -> Batch:
    """The batch whose folder it is: named by its id, two below the shelf's."""
    batches = Batches()
    batches.shelf = Shelf(folder.parent.parent)
    return batches.get(folder.name)


def _run(batch: Batch, stop: threading.Event, last: dict[str, object]) -> int:
    at = 0.0

    def heard(progress: Progress) -> None:
        nonlocal at
        last.update(done=progress.done, failed=progress.failed, duplicates=progress.duplicates,
                    seconds=progress.seconds, left_s=progress.left_s, says=progress.status)
        if progress.total is not None:
            last["total"] = progress.total
        if time.monotonic() - at >= TELL_S or not progress.rows:
            at = time.monotonic()
            tell(batch.folder, **last, state="running")

    last["says"] = "Loading the model …"
    tell(batch.folder, **last, state="running")
    (batch.folder / RESULT).mkdir(exist_ok=True)
    plan = batch.plan()
    report = run(batch.plan(resume=resumable(plan)), progress=heard, stop=stop)
    last.update(done=report.done, failed=report.failed, duplicates=report.duplicates, left_s=None,
                total=last.get("total") if report.stopped else report.done, seconds=report.seconds, says="")
    tell(batch.folder, **last, state="stopped" if report.stopped else "done")
    logging.info("%s", json.dumps(last))
    return 0


@contextlib.contextmanager
def _turn(path: Path, folder: Path, stop: threading.Event, last: dict[str, object]) -> Iterator[None]:
    """Hold the machine's one place for batches, unless `stop` is set first."""
    lock, told = FileLock(path), False
    path.parent.mkdir(parents=True, exist_ok=True)
    while not stop.is_set():
        try:
            lock.acquire(timeout=LOOK_S)
            break
        except Timeout:
            if not told:
                tell(folder, **last, state="waiting", says="waiting for another batch to end.")
            told = True
    try:
        yield
    finally:
        lock.release()


def _listen(path: Path, stop: threading.Event) -> None:
    while not stop.is_set():
        if path.exists():
            stop.set()
        time.sleep(LOOK_S)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # torch's threads take their time to leave
