"""Recipes of pictures in two processes: the losses of one process, and after a kill those of a run left alone."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from struck import make_run
from test_projector_lm import root as asked  # noqa: F401  (a fixture)
from test_together import TOLERANCE, begin, only_run, two_processes
from training import PRESET, finish, go_on, steps_of, wait_for_step

from trainer.events import read_events
from trainer.jobs import job_state

# No chance in it: plain pictures, whose mirrored view is the same, one question each, no dropout; and whole batches.
EXACT = {"batch_size": 6, "evaluations": 2, "patience": 100, "label_smoothing": 0.0}
CAPTIONER = {**PRESET, "name": "tiny-pair", "text": [], "dropout": 0.0, "eval_limit": 1, "eval_beams": 1, "stages": [
    {"name": "frozen", "objective": "caption", "epochs": 2, **EXACT},
    {"name": "critical", "objective": "caption", "epochs": 2, **EXACT}]}
QUESTIONS = {
    "name": "tiny-pair", "recipe": "projector_lm", "encoder": "vit", "base": "gpt2", "image_size": 32, "max_tokens": 32,
    "precision": "fp32", "eval_beams": 1, "eval_limit": 2, "data": [{"path": "asked.jsonl", "split": "train"}],
    "dev": [{"path": "asked.jsonl", "split": "dev"}], "stages": [
        {"name": "align", "objective": "answer", "epochs": 1, **EXACT},
        {"name": "instruct", "objective": "answer", "train_language": True, "epochs": 20, **EXACT, "evaluations": 4}]}
FIRST, KILLED, TOTAL = 2, 15, 42  # steps: of the first stage; where it is killed, between two checkpoints; of all


def start(root: Path, free_port: int, given: tuple[dict[str, Any], Path], home: Path) -> Any:
    """A training in two processes, in home/runs."""
    settings, data = given
    home.mkdir(exist_ok=True)
    (home / "preset.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return begin(root, *two_processes(free_port), "-m", "trainer", "run", home / "preset.yaml", "--data-root", data,
                 "--runs", home / "runs", "--checkpoints", home / "checkpoints")


def check_alike(one: dict[int, float], two: dict[int, float], steps: int, tolerance: float) -> None:
    assert list(one) == list(two) == list(range(1, steps + 1)) and one[steps] < one[1] - 0.2, "it learns"
    assert two == pytest.approx(one, rel=tolerance)


def test_a_captioner_learns_in_two_processes_what_it_does_in_one(root: Path, tiny: Path, tmp_path: Path,
                                                                free_port: int) -> None:
    process = start(root, free_port, (CAPTIONER, tiny), tmp_path)
    alone = make_run(CAPTIONER, tiny, tmp_path / "alone")
    go_on(alone)
    code, said = finish(process)
    assert code == 0, said[-4000:]
    folder = only_run(tmp_path)
    assert read_events(folder / "events.jsonl")[0][0]["processes"] == 2
    check_alike(steps_of(alone), steps_of(folder), 12, TOLERANCE)


def test_a_projector_does_too_and_goes_on_after_a_kill(root: Path, asked: Path, tmp_path: Path,  # noqa: F811
                                                       free_port: int) -> None:
    """SIGKILL for the process that the run's folder names, as a machine short of memory sends it: the launcher ends the
    other one. Resumed by the launcher, the losses are those of a run left alone."""
    base = asked / "gpt2" / "config.json"
    base.write_text(base.read_text().replace('"attn_pdrop": 0.1', '"attn_pdrop": 0.0'))
    process = start(root, free_port, (QUESTIONS, asked), tmp_path)
    folder = wait_for_step(process, tmp_path / "runs", KILLED)
    os.kill(job_state(folder).pid or 0, signal.SIGKILL)
    code, said = finish(process)
    cut = job_state(folder)
    assert code != 0 and cut.state == "interrupted" and KILLED <= cut.step < TOTAL, said[-4000:]
    kept = max(int(path.name.rpartition("-")[2]) for path in folder.glob("stages/instruct/checkpoint-*"))
    _, end = read_events(folder / "events.jsonl")
    process = begin(root, *two_processes(free_port), "-m", "trainer", "resume", folder)
    alone = make_run(QUESTIONS, asked, tmp_path / "alone")
    go_on(alone)
    code, said = finish(process)
    assert code == 0 and job_state(folder).state == "done", said[-4000:]
    again = [event["step"] for event in read_events(folder / "events.jsonl", end)[0] if event["event"] == "step"]
    assert again == list(range(FIRST + kept + 1, TOTAL + 1)), "it went on from its last checkpoint"
    check_alike(steps_of(alone), steps_of(folder), TOTAL, TOLERANCE)
    assert json.loads((folder / "stages" / "instruct" / "stage.json").read_text())["steps"] == TOTAL - FIRST
