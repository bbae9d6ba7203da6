"""A training that takes seconds: three colours to tell apart, and what watches it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from trainer.events import read_events

COLOURS = {"red": (200, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 200)}
PRESET: dict[str, Any] = {
    "name": "tiny", "title": "Tiny", "license": "cc0-1.0", "provenance": "Trained by a test.",
    "data": [{"path": "captions.jsonl", "split": "train", "repeat": 2}],
    "text": [{"path": "captions.jsonl", "split": "train"}], "dev": [{"path": "captions.jsonl", "split": "dev"}],
    "width": 32, "layers": 1, "heads": 2, "min_count": 1, "image_size": 32, "workers": 0, "precision": "fp32",
    "stages": [
        {"name": "words", "objective": "language", "epochs": 1, "batch_size": 6, "evaluations": 1},
        {"name": "frozen", "objective": "caption", "epochs": 2, "batch_size": 6, "evaluations": 2},
        {"name": "finetune", "train_encoder": True, "epochs": 12, "batch_size": 6, "evaluations": 6, "patience": 100},
        {"name": "critical", "objective": "self_critical", "epochs": 1, "batch_size": 6, "samples": 2,
         "evaluations": 1},
    ],
}
STEPS = {"words": 5, "frozen": 6, "finetune": 36, "critical": 3}  # by hand: ceil(items / 6) x epochs
TOTAL = 50
FIRST = 12  # step of the run with which `finetune` begins; it keeps a checkpoint every 6 steps
Start = Callable[..., subprocess.Popen]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dozen plain pictures of three colours, their captions, and a preset."""
    folder = tmp_path_factory.mktemp("tiny")
    rows = []
    for colour, rgb in COLOURS.items():
        for number in range(4):
            name = f"{colour}{number}.png"
            Image.new("RGB", (32 + 8 * number, 40), tuple(part + 10 * number for part in rgb)).save(folder / name)
            rows.append({"image": name, "split": "dev" if number == 3 else "train",
                         "captions": [f"A {colour} square.", f"a square that is {colour}"]})
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(PRESET), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def start(root: Path, tiny: Path) -> Iterator[Start]:
    """Starts `python -m trainer` with these arguments; none outlives the tests."""
    started: list[subprocess.Popen] = []

    def begin(*arguments: str | Path) -> subprocess.Popen:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
                       "NARRATOR_DATA": str(tiny)}
        started.append(subprocess.Popen([sys.executable, "-m", "trainer", *map(str, arguments)], cwd=root, text=True,
                                        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """Exit code and everything it said."""
    said, _ = process.communicate(timeout=400)
    return process.returncode, said


def train(start: Start, tiny: Path, home: Path) -> subprocess.Popen:
    return start("run", tiny / "tiny.yaml", "--runs", home / "runs", "--checkpoints", home / "checkpoints")


def go_on(run: Path) -> Path:
    """What `python -m trainer resume` does once it holds the run, in this process, where torch is imported already,
    on one thread as `start` has it: the folder of the variant."""
    import torch

    from trainer.config import load_config
    from trainer.jobs import CONFIG, PLACES
    from trainer.loop import run_job

    places, threads = json.loads((run / PLACES).read_text(encoding="utf-8")), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_job(run, load_config(run / CONFIG), Path(places["data_root"]), Path(places["out"]))
    finally:
        torch.set_num_threads(threads)


def variant_of(home: Path) -> Path:
    return home / "checkpoints" / "tiny"


def only(folder: Path) -> Path:
    """The one entry of a folder, the queue's own files apart."""
    (entry,) = (entry for entry in folder.iterdir() if entry.name != ".queue")
    return entry


def steps_of(run: Path) -> dict[int, float]:
    """Step -> loss; after a resume the later line counts."""
    return {event["step"]: event["loss"] for event in read_events(run / "events.jsonl")[0] if event["event"] == "step"}


def wait_for_step(process: subprocess.Popen, runs: Path, step: int) -> Path:
    """The run's folder as soon as its events hold the step."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        for run in runs.glob("*/events.jsonl"):
            if any(event.get("step", 0) >= step for event in read_events(run)[0]):
                return run.parent
        time.sleep(0.005)
    process.kill()
    pytest.fail(f"step {step} never came:\n{process.communicate()[0][-3000:]}")


@pytest.fixture(scope="session")
def finished(start: Start, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/ and checkpoints/ after a run from start to end."""
    home = tmp_path_factory.mktemp("finished")
    code, said = finish(train(start, tiny, home))
    assert code == 0, said
    assert "Done: " in said and str(home / "checkpoints" / "tiny") in said
    return home
