"""A running page for tests: the real app.py in a process of its own, and variants that answer in a known way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbing import write_checkpoint
from tiny_captioner import save_tiny_captioner

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "assets" / "pictures"
START_S = 300  # seconds for the page to be up; it takes 3 on two idle cores
SLOW = [[f" word{number}", 0.9] for number in range(200)]
MARKUP = [["a", 0.9], [" <img src=x onerror=alert(1)>", 0.9], [" <b>bold", 0.1], ["</b>", 0.9], [" dog", 0.2]]


def write_variants(folder: Path) -> None:
    """tiny-captioner (real code, random weights) first, very-slow (20 s), with-markup (HTML in its words),
    with-prompt (takes one), and a checkpoint whose manifest is damaged."""
    save_tiny_captioner(folder / "tiny-captioner")
    write_checkpoint(folder, "very-slow", words=SLOW, step_s=0.1)
    write_checkpoint(folder, "with-markup", words=MARKUP)
    takes = {"image": True, "text": True}
    write_checkpoint(folder, "with-prompt", inputs=takes, default_prompt="What is in the picture?")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "variant.yaml").write_text("id: [unclosed")


@contextlib.contextmanager
def served(folder: Path, port: int, **environment: str) -> Iterator[str]:
    """The address of a page that runs until the block ends; the log is `folder`/log.txt."""
    foreign = ("GRADIO_", "SPACE_", "NARRATOR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder / "uploads"), **environment}
    log = folder / "log.txt"
    with log.open("w") as out:
        command = [sys.executable, str(ROOT / "tests" / "browser" / "serve.py")]
        process = subprocess.Popen(command, cwd=folder, env=kept, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}/"
        _await(address, process, log)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(address: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"the page did not come up (exit code {process.poll()}):\n{log.read_text()[-4000:]}")
