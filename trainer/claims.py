"""Who may run: one run a device, one process a run, and one hand at a time on the queue. All of it by file locks, which
the system lets go of when their holder dies."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import filelock

from narrator.launched import local_count
from narrator.records import NarratorError
from trainer.events import FILE, EventLog, read_events
from trainer.jobs import PROCESS, QUEUED, already_run, leave_word, list_jobs, live_pid
from trainer.signals import heard_by

HOME = ".queue"  # in the folder of the runs: the locks, and word of the worker
TURN_S = 30.0  # seconds to wait for a change of the queue, which takes milliseconds
LOOK_S = 0.3  # seconds in which a device that is only being looked at is free again
TRY_S = 0.05  # seconds between two tries
PROCESSOR = "cpu"
NOT_NOW = 75  # exit code of a run that may not begin now (EX_TEMPFAIL of sysexits.h)
STOPPED = "Stopped. Go on with: python -m trainer resume {folder}"


class NotNow(Exception):
    """The device is busy, or the job has left the queue meanwhile."""


@contextlib.contextmanager
def turn(runs: Path) -> Iterator[None]:
    """One process at a time changes the queue. Raises NarratorError when the folder of the runs cannot be written."""
    lock = filelock.FileLock(home(runs) / "lock", timeout=TURN_S)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise NarratorError(f"The queue of {runs} did not answer for {TURN_S:.0f} seconds. Try again.") from None
    except OSError as error:
        raise _unwritable(runs, error) from None
    try:
        yield
    finally:
        lock.release()


def home(runs: Path) -> Path:
    """The folder of the queue's own files. Raises NarratorError when it cannot be made."""
    folder = runs / HOME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(runs, error) from None
    return folder


def _unwritable(runs: Path, error: OSError) -> NarratorError:
    return NarratorError(f"{runs} cannot be written ({error.strerror}). Check its permissions and the space on the "
                         "disk.")


@contextlib.contextmanager
def device(runs: Path, *, wait: bool) -> Iterator[list[str]]:
    """Hold the devices that a run here computes on, and name them: one run of a folder of runs at a time on each. One
    process holds the first of `devices` that is free; of several that a launcher started on this machine, the first
    process holds one for each.

    wait: until they are free, telling so; otherwise NotNow is raised when they are not.
    """
    found, count = devices(), local_count()
    each = sorted(found[:count], key=_place)  # sorted: two never wait in a ring
    wanted = [found] if count == 1 else [[name] for name in each]
    with contextlib.ExitStack() as held:
        yield [held.enter_context(_one_of(runs, names, wait)) for names in wanted]


@contextlib.contextmanager
def computing(runs: Path, *, wait: bool) -> Iterator[None]:
    """The same, and this process sees no other card from now on. Before torch is imported."""
    with device(runs, wait=wait) as held:
        if local_count() == 1 and held != [PROCESSOR]:
            os.environ["CUDA_VISIBLE_DEVICES"] = held[0]
        yield


def devices() -> list[str]:
    """What runs here may compute on, in the order in which it is taken: the graphics cards that CUDA_VISIBLE_DEVICES
    names, as it names them (all, when it is not set), else the processor."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = list(_cards())
    if named is not None and cards:
        seen: dict[str, str] = {}
        for name in itertools.takewhile(lambda name: name not in ("", "-1"), map(str.strip, named.split(","))):
            seen.setdefault(_place(name), name)  # it ends as CUDA ends it
        cards = list(seen.values())
    return cards or [PROCESSOR]


@functools.cache
def _cards() -> dict[str, str]:
    """Number -> UUID of the graphics cards that their driver knows."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    try:
        told = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(re.findall(r"^GPU (\d+):(?:.*\(UUID: (GPU-[^)\s]+)\))?", told, re.MULTILINE))


def _place(name: str) -> str:
    """A device as the names of locks have it: a card by its number, also where its UUID or the unique beginning of one
    names it, as CUDA takes them; a part of a card (MIG) by its own name."""
    numbers = [number for number, uuid in _cards().items() if name.startswith("GPU-") and uuid.startswith(name)]
    return numbers[0] if len(numbers) == 1 else re.sub(r"[^\w-]", "_", name)


@contextlib.contextmanager
def _one_of(runs: Path, names: Sequence[str], wait: bool) -> Iterator[str]:
    """Hold the first of these devices that is free."""
    lock, name = _acquired(runs, names, LOOK_S)
    if lock is None and not wait:
        raise NotNow(f"The device {', '.join(names)} is busy.")
    if lock is None:
        by = ", ".join(f"{job.id} (process {job.pid})" for job in list_jobs(runs) if job.state == "running")
        print(f"Waiting: the device {', '.join(names)} is busy{f' with {by}' if by else ''}. Ctrl-C leaves.",
              file=sys.stderr, flush=True)
    while lock is None:
        lock, name = _acquired(runs, names, LOOK_S)
    try:
        yield name
    finally:
        lock.release()


def _acquired(runs: Path, names: Sequence[str], seconds: float) -> tuple[filelock.BaseFileLock | None, str]:
    """The lock on the first of these devices that is free within so many seconds, and its name; (None, "") without."""
    locks = {name: filelock.FileLock(home(runs) / f"device-{_place(name)}.lock") for name in names}
    until = time.monotonic() + seconds
    while True:
        for name, lock in locks.items():
            try:
                lock.acquire(timeout=0)
                return lock, name
            except filelock.Timeout:
                continue
            except OSError as error:
                raise _unwritable(runs, error) from None
        if time.monotonic() >= until:
            return None, ""
        time.sleep(TRY_S)


@contextlib.contextmanager
def taken(folder: Path, *, queued: bool = False) -> Iterator[None]:
    """The job is this process's to run: out of the queue, and "running" to all who look.

    SIGTERM and Ctrl-C leave at once, with the job "stopped", until whoever runs it listens for them: before that there
    is nothing to save. queued: only if it is still in the queue; NotNow is raised otherwise, and NarratorError when
    another process runs it.
    """
    with _leave_on_signals(folder) as mine:
        with turn(folder.parent):
            if queued and not (folder / QUEUED).exists():
                raise NotNow(f"{folder.name} has left the queue.")
            if live_pid(folder) is not None:
                raise already_run(folder)
            leave_word(folder)
            mine.append(folder)
            (folder / QUEUED).unlink(missing_ok=True)
        try:
            yield
        finally:
            if live_pid(folder) == os.getpid():
                (folder / PROCESS).unlink(missing_ok=True)


@contextlib.contextmanager
def _leave_on_signals(folder: Path) -> Iterator[list[Path]]:
    """SIGTERM and Ctrl-C end this process at once; the job's folder says "stopped" once it is in the list, which is
    empty at first."""
    mine: list[Path] = []
    begun = read_events(folder / FILE)[1]  # what follows is of this process

    def leave(number: int, frame: FrameType | None) -> None:
        if mine:
            told = read_events(folder / FILE, begun)[0]
            if told and told[-1].get("event") in ("done", "failed", "stopped"):
                return  # it is ending by itself
            with contextlib.suppress(NarratorError), EventLog(folder / FILE) as events:  # the disk may be full
                events.append("stopped", checkpoint=True)
            (folder / PROCESS).unlink(missing_ok=True)
            print(STOPPED.format(folder=folder), file=sys.stderr, flush=True)
        os._exit(3)  # libraries that are being imported would catch an exception

    with heard_by(leave):
        yield mine
