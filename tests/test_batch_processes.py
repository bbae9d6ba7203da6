"""A batch shared by two processes of accelerate, or handed to a local Ray: the same rows as in one."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "trainer" / "presets" / "accelerate" / "cpu.yaml"
FLAGS = ("--variant", "tiny-captioner", "--max-new-tokens", "6")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six photographs, a twin and a file that is no picture."""
    home = tmp_path_factory.mktemp("processes")
    shutil.copytree(ROOT / "assets" / "pictures", home / "trip")
    shutil.copy(home / "trip" / "astronaut.jpg", home / "trip" / "twin.jpg")
    (home / "trip" / "bad.jpg").write_bytes(b"no picture")
    shutil.make_archive(str(home / "trip"), "zip", home / "trip")
    return home


@pytest.fixture(scope="module")
def alone(home: Path, tiny_checkpoints: Path) -> list[dict]:
    run(home, tiny_checkpoints, "alone.jsonl")
    rows = told(home / "alone.jsonl")
    assert len(rows) == 8 and sum(row["error"] is not None for row in rows) == 1
    assert [row["duplicate_of"] for row in rows if row["duplicate_of"]] == ["astronaut.jpg"]
    return rows


def run(home: Path, checkpoints: Path, out: str, *more: str, launcher: tuple[str, ...] = (),
        source: str = "trip") -> str:
    """Run `narrator batch` to its end, which is 1 for the bad picture, 0 under a launcher; what it says on stderr."""
    given = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT),
             "NARRATOR_CHECKPOINTS": str(checkpoints), "RAY_worker_niceness": "0"}
    words = [sys.executable, "-m", *launcher, "narrator", "batch", source, *FLAGS, "--out", out, *more]
    done = subprocess.run(words, cwd=home, env=given, capture_output=True, text=True, timeout=400)
    assert done.returncode == (0 if launcher else 1) and (home / out).is_file(), done.stderr[-4000:]
    return done.stderr


def told(path: Path) -> list[dict]:
    """The rows, without what the clock says; confidence as far as batches of other sizes agree."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{**row, "seconds": None, "confidence": row["confidence"] and round(row["confidence"], 3)} for row in rows]


def test_two_processes(home: Path, alone: list[dict], tiny_checkpoints: Path, free_port: int) -> None:
    """Each has its share of a zip that is unpacked once, and the first one joins them."""
    launcher = ("accelerate.commands.launch", "--config_file", str(CONFIG), "--num_processes", "2",
                "--main_process_port", str(free_port), "-m")
    said = run(home, tiny_checkpoints, "two.jsonl", launcher=launcher, source="trip.zip")
    assert told(home / "two.jsonl") == alone
    assert "process 1 of 2: " in said and "process 2 of 2: " not in said
    assert not list(home.glob("*.part"))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'ray[data]'")
def test_ray(home: Path, alone: list[dict], tiny_checkpoints: Path) -> None:
    run(home, tiny_checkpoints, "ray.jsonl", "--engine", "ray")
    assert told(home / "ray.jsonl") == alone
