"""An evaluation in a process of its own, which outlives page and server: one at a time, the others wait their turn.

python -m narrator.evaluation.child FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import filelock

from narrator.evaluation.folder import QUEUED, STOP, ended, evaluations_folder, state_of
from narrator.evaluation.running import STOPPED, run
from narrator.processes import reap, record, spawn
from narrator.records import NarratorError

LOG, TURN = "log.txt", ".turn"
LOOK_S = 0.5  # seconds between two looks of one that waits
PROJECT = Path(__file__).resolve().parents[2]
GOING = ("queued", "running", "scoring", "done")


def launch(folder: Path) -> None:
    """Begin the evaluation, or go on with it; nothing happens where it goes on already or is done. Raises NarratorError
    where no process can be started, and for a damaged folder."""
    folder = Path(folder).resolve()
    if state_of(folder).state in GOING:
        return
    try:
        (folder / STOP).unlink(missing_ok=True)
        process = spawn([sys.executable, "-m", "narrator.evaluation.child", str(folder)], folder / LOG, PROJECT)
        record(folder / QUEUED, process.pid)
    except OSError as error:
        raise NarratorError(f"The evaluation cannot be started ({error.strerror}). Check the permissions of {folder} "
                            "and the space on the disk.") from None
    reap(process)


def main(arguments: list[str]) -> int:
    """Wait for the turn, then run. Returns the exit status."""
    folder = Path(arguments[0])
    try:
        record(folder / QUEUED)
        place = evaluations_folder()
        place.mkdir(parents=True, exist_ok=True)
        turn = filelock.FileLock(place / TURN)
        while not _taken(turn):
            if (folder / STOP).exists():
                ended(folder, "stopped", STOPPED)
                (folder / QUEUED).unlink(missing_ok=True)
                return 0
        try:
            run(folder)
        finally:
            turn.release()
    except (NarratorError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _taken(turn: filelock.BaseFileLock) -> bool:
    try:
        turn.acquire(timeout=LOOK_S)
    except filelock.Timeout:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
