"""Runs `narrator ...` with a tiny checkpoint folder: in this process, or as a person would, in one of its own.

A process of its own takes seconds to import torch. It is for what only that can prove: terminals, pipes, signals, what
is imported, and each command once from end to end.
"""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from narrator.__main__ import main

ROOT = Path(__file__).resolve().parents[1]


def environment(checkpoints: Path | None = None) -> dict[str, str]:
    """The environment of a command; one thread, because tests share the machine."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if checkpoints is not None:
        given["NARRATOR_CHECKPOINTS"] = str(checkpoints)
    return given


def narrator(*arguments: object, checkpoints: Path | None = None, folder: Path = ROOT,
             text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end in this process, `text` on its standard input; streams and environment come back."""
    said, told = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    given = mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
    words = [str(argument) for argument in arguments]
    with (mock.patch.dict(os.environ, environment(checkpoints)), contextlib.chdir(folder), given,
          contextlib.redirect_stdout(said), contextlib.redirect_stderr(told)):
        try:
            code = main(words)
        except SystemExit as ending:  # argparse's way
            code = int(ending.code or 0)
    output = [stream.buffer.getvalue().decode() for stream in (said, told)]
    return subprocess.CompletedProcess(["narrator", *words], code, *output)


def process(*arguments: object, checkpoints: Path | None = None, folder: Path = ROOT,
            text: str | None = None) -> subprocess.CompletedProcess[str]:
    """The same by `python -m narrator` in a process of its own."""
    return subprocess.run([sys.executable, "-m", "narrator", *map(str, arguments)], cwd=folder, input=text,
                          env=environment(checkpoints), capture_output=True, text=True, timeout=300)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused command leaves on stderr. Fails on a second line and on any exit code but 2."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and lines[0].startswith("narrator: "), done
    assert done.stdout == "", done
    return lines[0].removeprefix("narrator: ")
