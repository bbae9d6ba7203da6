"""The dry run of every recipe: three real steps of each stage on tiny random weights, and nothing of the run's own."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prompted import PRESET as PROMPTED
from prompted import prompted_data  # noqa: F401  (the fixture "data")
from test_hub_vlm_recipe import root as shown  # noqa: F401
from test_hub_vlm_recipe import settings_of
from test_image_gpt_recipe import SETTINGS as DIGITS
from test_image_gpt_recipe import data as digits  # noqa: F401
from test_projector_lm import root as asked  # noqa: F401

from trainer.config import load_config, parse_config
from trainer.preflight.rehearsal import STEPS, rehearse, shortened

SEEING: dict[str, Any] = {
    "name": "tiny-qa", "recipe": "projector_lm", "data": [{"path": "asked.jsonl", "split": "train"}],
    "dev": [{"path": "asked.jsonl", "split": "dev"}], "encoder": "vit", "base": "gpt2", "image_size": 32,
    "max_tokens": 32, "precision": "fp32", "lora": {"r": 2, "alpha": 4},
    "stages": [{"name": "align", "objective": "caption", "batch_size": 2},
               {"name": "ask", "objective": "answer", "train_language": True, "batch_size": 3}]}
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {  # folder of the data, settings
    "causal_lm": ("data", PROMPTED), "image_gpt": ("digits", DIGITS), "projector_lm": ("asked", SEEING),
    "hub_vlm": ("shown", settings_of("blip", stages=[{"name": "tell", "objective": "caption", "batch_size": 2}]))}


@pytest.mark.parametrize("name", RECIPES)
def test_three_steps_of_each_stage(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    fixture, settings = RECIPES[name]
    config = parse_config(settings, "test")
    answers = list(rehearse(config, request.getfixturevalue(fixture), tmp_path))
    stages = [answer for answer in answers if "stage" in answer]
    assert [answer["stage"] for answer in stages] == [stage.name for stage in config.stages]
    assert all(answer["step_s"] > 0 for answer in stages)
    assert (stages[0]["feature_bytes"] > 0) == (name == "projector_lm")  # the only one here that keeps features
    assert answers[0]["device"] == "cpu" and answers[0]["available"] > 0
    assert answers[-1]["memory"] > 0 and answers[-1]["answer_s"] > 0
    assert not (tmp_path / "stages").exists() and not (tmp_path / "events.jsonl").exists()


def test_only_so_many_pictures_are_read_as_the_steps_take() -> None:
    two = [{"path": "a", "limit": 5}, {"path": "b"}]
    config = parse_config({**SEEING, "data": two, "dev": [{"path": "c"}]}, "test")
    assert [source.limit for source in shortened(config).data] == [-(-3 * STEPS // 2)] * 2
    prompted = parse_config({**PROMPTED, "vivid": 0.5}, "test")
    assert shortened(prompted).data == prompted.data and shortened(prompted).vivid == 1.0


NO_MEMORY = """
import torch
from trainer.preflight import rehearsal

def rehearse(config, root, folder):
    yield {"doing": "loading the model"}
    torch.empty(2 ** 50)

rehearsal.rehearse = rehearse
rehearsal.main()
"""


def test_what_a_processor_cannot_hold_is_told_as_memory(root: Path, tiny: Path) -> None:
    """torch says it by a RuntimeError there."""
    config = load_config(tiny / "tiny.yaml")
    request = json.dumps({"config": dataclasses.asdict(config), "root": str(tiny)})
    with subprocess.Popen([sys.executable, "-c", NO_MEMORY], cwd=root, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as rehearsal:
        assert rehearsal.stdin is not None and rehearsal.stdout is not None
        rehearsal.stdin.write(request + "\n")
        rehearsal.stdin.flush()  # and not closed: it would end
        answers = [json.loads(line) for line in rehearsal.stdout]
    assert answers == [{"doing": "loading the model"}, {"out_of_memory": True}]
