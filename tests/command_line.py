"""Runs `python -m narrator ...` as a person would: a process of its own, here with a tiny checkpoint folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment(checkpoints: Path | None = None) -> dict[str, str]:
    """The environment of a command; one thread, because tests share the machine."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if checkpoints is not None:
        given["NARRATOR_CHECKPOINTS"] = str(checkpoints)
    return given


def narrator(*arguments: object, checkpoints: Path | None = None, folder: Path = ROOT,
             text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, `text` on its standard input."""
    return subprocess.run([sys.executable, "-m", "narrator", *map(str, arguments)], cwd=folder, input=text,
                          env=environment(checkpoints), capture_output=True, text=True, timeout=300)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a refused command leaves on stderr. Fails on a second line and on any exit code but 2."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and lines[0].startswith("narrator: "), done
    assert done.stdout == "", done
    return lines[0].removeprefix("narrator: ")
