"""Child processes of the page: `python -m trainer ...`, so that what they import and need never weighs on the page."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator

from narrator.records import NarratorError
from trainer.tab.places import PROJECT

LINES, LONGEST = 200, 1 << 16  # of what a command tells, so much is kept for its last word; and of a line


@dataclasses.dataclass(frozen=True)
class Said:
    """Standard output of a command that has ended well."""

    text: str


async def follow_trainer(*arguments: str) -> AsyncGenerator[str | Said, None]:
    """The lines of progress that a command tells on standard error, as they come; last, what it said. Closing the
    generator, or cancelling the task, ends the process and all that it started.

    Raises NarratorError with what the command said was wrong.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trainer", *arguments, cwd=PROJECT, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stderr is not None
    said, told, rest = asyncio.create_task(process.stdout.read()), collections.deque[str](maxlen=LINES), ""
    try:
        while part := await process.stderr.read(LONGEST):
            *lines, rest = re.split(r"[\r\n]+", rest[-LONGEST:] + part.decode("utf-8", "replace"))
            told.extend(lines)
            for line in lines:
                yield line
        told.append(rest)
        output = await said
        await process.wait()
    finally:
        said.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise NarratorError(sentence("\n".join(told), arguments[0]))
    yield Said(output.decode("utf-8", "replace"))


async def run_trainer(*arguments: str) -> str:
    """Standard output of a command that ends well; else as `follow_trainer`."""
    async with contextlib.aclosing(follow_trainer(*arguments)) as told:
        async for word in told:
            if isinstance(word, Said):
                return word.text
    raise AssertionError("a command that ends well has said something, if only nothing")


def sentence(said: str, command: str) -> str:
    """What a failed command of the trainer said in a sentence; of anything else its last line."""
    lines = [line for line in said.splitlines() if line.strip()]
    told = next((line.removeprefix("trainer: ") for line in reversed(lines) if line.startswith("trainer: ")), None)
    if told is not None:
        return told
    last = lines[-1].strip()[:300] if lines else "it said nothing"
    return f"`trainer {command}` broke off ({last}). Try again; the terminal tells more."
