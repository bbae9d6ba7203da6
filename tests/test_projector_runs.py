"""Whole runs of the recipe projector_lm: captions and talk at length held out side by side, adapters, a resume between
two stages."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_projector_lm import COLOURS
from test_projector_lm import root as asked  # noqa: F401

from trainer import jobs
from trainer.config import load_config, parse_config
from trainer.events import read_events
from trainer.loop import run_job

LENGTH = "It is a plain square that is {} from side to side."


@pytest.fixture
def folder(asked: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A prepared run of two stages over captions and a set of questions with long answers, as LLaVA's are."""
    rows: dict[str, list[dict[str, Any]]] = {"captions": [], "talk": []}
    for colour in COLOURS:
        for number in range(4):
            row = {"image": f"{colour}{number}.png", "split": "dev" if number == 3 else "train"}
            rows["captions"].append({**row, "captions": [f"A {colour} square."]})
            rows["talk"].append({**row, "prompt": "Describe this picture.", "captions": [LENGTH.format(colour)]})
    for name, found in rows.items():
        (asked / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    common = {"batch_size": 8, "label_smoothing": 0.0, "evaluations": 1, "epochs": 1}
    settings = {
        "name": "tiny-talk", "recipe": "projector_lm", "license": "mit", "encoder": "vit", "base": "gpt2",
        "image_size": 32, "max_tokens": 48, "precision": "fp32", "lora": {"r": 4, "alpha": 8}, "eval_beams": 1,
        "data": [{"path": f"{name}.jsonl", "split": "train"} for name in rows],
        "dev": [{"path": f"{name}.jsonl", "split": "dev"} for name in rows],
        "stages": [{"name": "align", "objective": "caption", **common},
                   {"name": "instruct", "objective": "answer", "train_language": True, **common}]}
    made = jobs.create_job("tiny-talk", dataclasses.asdict(parse_config(settings, "test")), tmp_path / "runs")
    (made / jobs.PLACES).write_text(json.dumps({"command": "python -m trainer run tiny.yaml"}), encoding="utf-8")
    return made


def test_each_set_is_judged_by_what_it_has(folder: Path, asked: Path, tmp_path: Path) -> None:  # noqa: F811
    """And a run that was killed after its last stage, before that was measured, goes on with its adapters."""
    config = load_config(folder / jobs.CONFIG)
    out = run_job(folder, config, asked, tmp_path / "models" / "tiny-talk")
    judged = [event for event in read_events(folder / "events.jsonl")[0] if "metric" in event]
    assert [event["metric"] for event in judged] == ["CIDEr-D"] * len(judged) and len(judged) >= 2
    talk = next(scores for name, scores in judged[-1]["scores"].items() if "talk" in name)
    assert "cider_d" in talk and "accuracy" not in talk
    first = (out / "model.safetensors").read_bytes()

    (folder / jobs.MANIFEST).unlink()
    shutil.rmtree(folder / "stages" / "instruct" / "best")
    (folder / "stages" / "instruct" / "stage.json").unlink()
    again = run_job(folder, config, asked, tmp_path / "again" / "tiny-talk")
    assert (again / "model.safetensors").read_bytes() == first
