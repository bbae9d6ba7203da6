"""Child processes of the page: `python -m trainer ...`, so that what they import and need never weighs on the page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from narrator.records import NarratorError
from trainer.tab.places import PROJECT


async def run_trainer(*arguments: str) -> str:
    """Standard output of a command that ends well. Cancelling the task ends the process and all that it started.

    Raises NarratorError with what the command said was wrong.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trainer", *arguments, cwd=PROJECT, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True)
    try:
        said, problem = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise NarratorError(sentence(problem.decode("utf-8", "replace"), arguments[0]))
    return said.decode("utf-8", "replace")


def sentence(said: str, command: str) -> str:
    """What a failed command of the trainer said in a sentence; of anything else its last line."""
    lines = [line for line in said.splitlines() if line.strip()]
    told = next((line.removeprefix("trainer: ") for line in reversed(lines) if line.startswith("trainer: ")), None)
    if told is not None:
        return told
    last = lines[-1].strip()[:300] if lines else "it said nothing"
    return f"`trainer {command}` broke off ({last}). Try again; the terminal tells more."
