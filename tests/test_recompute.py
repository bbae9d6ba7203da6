"""Activations computed again on the way back: the same loss and gradients, from layers that are run twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from test_hub_vlm_recipe import recipe_of as shown  # noqa: F401  (a fixture)
from test_hub_vlm_recipe import root, stage  # noqa: F401  (a fixture)
from test_projector_lm import recipe_of
from test_projector_lm import root as asked  # noqa: F401  (a fixture)
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.config import load_config
from trainer.doctor import memory

LORA = {"r": 4, "alpha": 8, "dropout": 0.0}
PRESETS = Path(__file__).resolve().parents[1] / "trainer" / "presets"


def step(recipe: Any) -> tuple[dict[str, torch.Tensor], int]:
    """(the loss and the gradients of one step, how often a language model's layer was run for them)"""
    torch.manual_seed(0)
    model, chosen = recipe.prepare()[0], recipe.config.stages[0]
    dataset = recipe.dataset(chosen, model, lambda done, total: None)
    batch = recipe.collate([dataset[row] for row in range(3)])
    recipe.spare(model)
    recipe.parameter_groups(model.train(), chosen)
    ran = 0

    def count(module: torch.nn.Module, given: object, made: object) -> None:
        nonlocal ran
        ran += 1

    for layer in model.modules():  # transformers leaves a layer's own hooks out of what is run again
        if isinstance(layer, GradientCheckpointingLayer) and any(one.requires_grad for one in layer.parameters()):
            next(part for part in layer.modules() if "norm" in type(part).__name__.lower()).register_forward_hook(count)
    loss = recipe.loss(model, batch, chosen)
    loss.backward()
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return {"loss": loss.detach(), **found}, ran


def times_run(plain: Any, recomputing: Any) -> float:
    """How much oftener layers are run where they are recomputed; loss and gradients are the same."""
    kept, once = step(plain)
    again, twice = step(recomputing)
    assert kept.keys() == again.keys() and len(kept) > 4
    for name, value in kept.items():
        torch.testing.assert_close(again[name], value, rtol=1e-5, atol=1e-7, msg=name)
    assert any(value.abs().max() > 0 for name, value in kept.items() if "lora_" in name)
    return twice / once


def test_behind_a_projector(asked: Path, tmp_path: Path) -> None:  # noqa: F811
    one, other = (recipe_of(asked, tmp_path / name, base="phi", lora=LORA, recompute=name == "less")
                  for name in ("all", "less"))
    assert times_run(one, other) == 2


def test_of_a_hub(shown: Callable[..., Any]) -> None:  # noqa: F811
    given = {"lora": LORA, "stages": [stage()]}
    assert times_run(shown("smolvlm", **given), shown("smolvlm", recompute=True, **given)) == 2


def test_it_takes_less_memory_by_the_doctors_count() -> None:
    """By hand: 32 layers of 10 tokens x 2 rows x 64 wide with 4 heads, 2 bytes each."""
    config = load_config(PRESETS / "qwen2.5-3b-lora.yaml", ["stages.learn.batch_size=2"])
    again = load_config(PRESETS / "qwen2.5-3b-lora.yaml", ["stages.learn.batch_size=2", "recompute=true"])
    shape = (10, 64, 4, 32)
    entering, layer = 2 * 10 * 2 * 64, 10 * 2 * 64 * (34 + 5 * 4 * 10 / 64)
    assert memory(config, config.stages[0], (0, 0), shape) == 32 * layer
    assert memory(again, again.stages[0], (0, 0), shape) == 32 * entering + layer
