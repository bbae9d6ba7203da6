"""Processes that are known again, by id, start time and boot, and that outlive whoever starts them."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from narrator.files import write_whole

CLOCK_S = 2.0  # seconds that a start time may seem to move when the clock is set; process ids do not come back so soon
_BOOT = Path("/proc/sys/kernel/random/boot_id")  # Linux alone has one


def record(path: Path, pid: int | None = None, **more: Any) -> None:
    """Leave word in `path` of the process `pid`, this one when None, and `more` about it. Raises OSError when it cannot
    be written."""
    process = psutil.Process(pid)
    word = {"pid": process.pid, "started": process.create_time(), "boot": _boot(), **more}
    word["since_boot_s"] = word["started"] - psutil.boot_time()
    write_whole(path, json.dumps(word) + "\n")


def recorded(path: Path) -> tuple[int | None, dict[str, Any]]:
    """The id of the process that left word in `path` while it lives, else None, and the whole word ({} without one).
    An id that a stranger has now, or that is of an earlier boot, does not count."""
    try:
        word = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, {}
    if not isinstance(word, dict):
        return None, {}
    try:
        process = psutil.Process(int(word["pid"]))
        alive = process.status() != psutil.STATUS_ZOMBIE and _same(word, process)
    except (KeyError, ValueError, TypeError, OverflowError, psutil.Error):
        return None, word
    return (process.pid if alive else None), word


def _same(word: dict[str, Any], process: psutil.Process) -> bool:
    """Whether the process began when the record says. Linux reckons that from the boot, so that it seems to move when
    the clock is set: then the time since the boot decides, if it is still the same boot."""
    if word.get("boot") and word["boot"] != _boot():
        return False
    began = process.create_time()
    since_boot = float(word["since_boot_s"]) if word.get("boot") else float("inf")
    return (abs(began - float(word["started"])) <= CLOCK_S
            or abs(began - psutil.boot_time() - since_boot) <= CLOCK_S)


def _boot() -> str:
    """The name of this boot, "" on systems that give it none."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def spawn(command: Sequence[str], log: Path, home: Path) -> subprocess.Popen[bytes]:
    """Start the command in a session of its own, in the folder `home`, all that it says appended to `log`.

    No terminal, page or parent ends it. Raises OSError when the log cannot be written or the process not be started.
    """
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
    with log.open("ab") as said:
        return subprocess.Popen(command, cwd=home, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
                                start_new_session=os.name == "posix", creationflags=flags)


def end_with(parent: int) -> None:
    """Let the system end this process when the one that began it ends, however that comes about. parent: its id, asked
    before. Elsewhere than on Linux nothing is done."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is not None:
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
        prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it was gone before that
            os._exit(1)


def reap(process: subprocess.Popen[bytes]) -> None:
    """Take note of the end of the process when it comes, so that it does not stay as a zombie of this one."""
    threading.Thread(target=process.wait, name=f"reap {process.pid}", daemon=True).start()
