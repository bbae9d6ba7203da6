"""What benchmarks/watching.py looks at, each in a process of its own: the page, a training, a browser."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from trainer.events import FILE, read_events

PROJECT = Path(__file__).resolve().parent.parent
WAIT_S = 600.0
# A captioner of pictures of one colour: steps of about a tenth of a second, for minutes.
PRESET: dict[str, Any] = {
    "name": "watched", "title": "Watched", "license": "cc0-1.0", "provenance": "Trained by a benchmark.",
    "data": [{"path": "captions.jsonl", "split": "train"}], "dev": [{"path": "captions.jsonl", "split": "dev"}],
    "vision": "vit", "vision_width": 192, "vision_layers": 4, "vision_patch": 16, "width": 128, "layers": 2, "heads": 2,
    "min_count": 1, "image_size": 96, "workers": 0, "precision": "fp32",
    "stages": [{"name": "learn", "train_encoder": True, "epochs": 1000, "batch_size": 16, "evaluations": 40,
                "patience": 100}]}
COLOURS = {"red": (200, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 200), "yellow": (220, 220, 40)}
PICTURES, HELD_OUT = 42, 2  # of each colour: 160 to learn from are ten steps


class Training:
    """A training in a process of its own, and what its folder tells."""

    def __init__(self, home: Path, cores: Sequence[int] | None = None) -> None:
        """cores: that it keeps to; None for all."""
        self.home, self.cores, self.log = home, cores, (home / "training.txt").open("ab")
        self.process: subprocess.Popen[bytes] = None  # type: ignore[assignment]  # until it begins

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        self.log.close()

    def begin(self, *arguments: str | Path) -> None:
        """`python -m trainer` with these arguments, on the runs of this place."""
        command = [sys.executable, "-m", "trainer", *map(str, arguments), "--runs", str(self.home / "runs")]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT)
        if self.cores is not None:
            psutil.Process(self.process.pid).cpu_affinity(list(self.cores))

    @property
    def folder(self) -> Path:
        """Of its run."""
        return next((self.home / "runs").glob("[!.]*/config.yaml")).parent

    def events(self) -> list[dict[str, Any]]:
        """All of them so far."""
        return [event for path in (self.home / "runs").glob(f"[!.]*/{FILE}") for event in read_events(path)[0]]

    def steps(self) -> list[tuple[int, float]]:
        """(step, when its event was written, in seconds since 1970), in order."""
        return [(event["step"], when(event)) for event in self.events() if event["event"] == "step"]

    def step_times(self, began: float, ended: float) -> list[float]:
        """Seconds of each step in the window; those with an evaluation or a checkpoint between them are left out."""
        inside = [event for event in self.events() if began <= when(event) <= ended]
        return [(when(after) - when(before)) / (after["step"] - before["step"])
                for before, after in itertools.pairwise(inside)
                if before["event"] == after["event"] == "step" and after["step"] > before["step"]]

    def wait_for(self, step: int) -> None:
        """Until the step is in the events. Raises SystemExit when the training ends before."""
        def there() -> bool:
            if self.process.poll() is not None:
                said = (self.home / "training.txt").read_text(encoding="utf-8", errors="replace")
                raise SystemExit(f"The training ended before step {step}:\n{said[-2000:]}")
            told = self.steps()
            return bool(told) and told[-1][0] >= step
        until(there, f"Step {step} never came.")


@contextlib.contextmanager
def served(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """(address, process) of the page over the runs of this place."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    foreign = ("GRADIO_", "SPACE_", "NARRATOR_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    places = {f"NARRATOR_{name.upper()}": str(home / name) for name in ("runs", "checkpoints", "history")}
    address = f"http://127.0.0.1:{port}/"
    with (home / "page.txt").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(PROJECT / "app.py")], cwd=home, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, env={
                                       **kept, **places, "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1",
                                       "GRADIO_TEMP_DIR": str(home / "uploads")})

    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"The page did not come up:\n{(home / 'page.txt').read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(address, timeout=10).close()
            return True
        return False
    try:
        until(answers, "The page did not come up.")
        yield address, psutil.Process(process.pid)
    finally:
        end(process)


@contextlib.contextmanager
def opened() -> Iterator[Any]:
    """An empty page of a Chromium without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SystemExit("This needs a browser: pip install -r requirements-dev.txt") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1280, "height": 800})
        browser.close()


def write_preset(home: Path) -> Path:
    """The small captioner's configuration and data, in this folder."""
    from PIL import Image

    rows = []
    for colour, (red, green, blue) in COLOURS.items():
        for number in range(PICTURES):
            name, shade = f"{colour}{number}.png", number % 30
            Image.new("RGB", (96, 96), (red + shade, green + shade, blue + shade)).save(home / name)
            rows.append({"image": name, "split": "dev" if number < HELD_OUT else "train",
                         "captions": [f"A {colour} square.", f"a square that is {colour}"]})
    (home / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = home / "watched.yaml"
    path.write_text(json.dumps(PRESET), encoding="utf-8")  # which is YAML, too
    return path


def until(is_so: Callable[[], bool], otherwise: str, pause_s: float = 0.2) -> None:
    """Wait for it. Raises SystemExit when it does not come about in ten minutes."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(otherwise)
        time.sleep(pause_s)


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that it has started; [] once it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def cpu_s(processes: list[psutil.Process]) -> float:
    """Processor time that they have used so far, in seconds."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system
    return total


def when(event: dict[str, Any]) -> float:
    """When it was written, in seconds since 1970."""
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def end(process: subprocess.Popen[bytes] | None) -> None:
    """End it, kindly first."""
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
