"""Tiny captions to make prompts and answers from, and what learns from them."""


import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.config import parse_config
from trainer.recipes.causal_lm import CausalLMRecipe
from trainer.recipes.pairs import PROMPTS, make_tokenizer

ANIMALS, COLOURS, GROUNDS = ("dog", "cat", "horse", "bird"), ("brown", "white", "black"), ("grass", "street")
STAGE = {"name": "learn", "objective": "answer", "epochs": 2, "batch_size": 8, "evaluations": 2, "learning_rate": 5e-3,
         "label_smoothing": 0.0}
PRESET: dict[str, Any] = {
    "name": "tiny-prompt", "recipe": "causal_lm", "data": [{"path": "set/rows.jsonl"}],
    "dev": [{"path": "set/rows.jsonl"}], "held_out": 0.2, "width": 32, "layers": 1, "heads": 2, "vocabulary": 300,
    "max_tokens": 48, "dropout": 0.0, "precision": "fp32", "stages": [STAGE]}


def captions() -> list[dict[str, Any]]:
    return [{"image_id": f"{colour} {animal} {place}", "captions": [
        f"A {colour} {animal} on the {place} .", f"the {animal} stands on a {place}", f"a {colour} {animal}"]}
        for animal in ANIMALS for colour in COLOURS for place in GROUNDS]


@pytest.fixture(scope="module", name="data")
def prompted_data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "set").mkdir()
    (root / "set" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in captions()))
    return root


@pytest.fixture(scope="module", name="tokenizer")
def prompted_tokenizer():
    return make_tokenizer([text for row in captions() for text in row["captions"]] + list(PROMPTS), 300)


def recipe_of(root: Path, folder: Path, **changes) -> CausalLMRecipe:
    folder.mkdir(parents=True, exist_ok=True)
    config = parse_config({**PRESET, **changes}, "test")
    return CausalLMRecipe(config, root, folder, torch.device("cpu"))


def silent(done: int, total: int) -> None:
    """A listener that takes no notice."""


def learn(recipe: CausalLMRecipe, model, steps: int) -> list[float]:
    """The losses of so many steps of the real thing without transformers' Trainer around it."""
    stage = recipe.config.stages[0]
    data = recipe.dataset(stage, model, silent)
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model, stage))
    told = []
    random.seed(0)
    for _ in range(steps):
        loss = recipe.loss(model, recipe.collate([data[random.randrange(len(data))] for _ in range(8)]), stage)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        told.append(float(loss.detach()))
    return told
