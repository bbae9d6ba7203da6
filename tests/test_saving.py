"""Weights as a variant ships them: in 16 bits, or some of them in 8."""

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_vit_recipe import recipe_of
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families.loading import load_whole
from narrator.settings import GenerationSettings
from narrator.weights import check_checkpoint
from trainer.recipes.saving import save_weights


def test_feed_forward_matrices_in_8_bits_come_back_nearly_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=64, n_head=2, vocab_size=99, n_positions=16)).float()
    total = save_weights(model, tmp_path / "16")
    assert save_weights(model, tmp_path / "8", float8=True) == total
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    half = load_whole(GPT2LMHeadModel, tmp_path / "16").state_dict()
    less = load_whole(GPT2LMHeadModel, tmp_path / "8").state_dict()
    sizes = {name: sum(path.stat().st_size for path in (tmp_path / name).glob("*.safetensors")) for name in ("8", "16")}
    saved = sum(half[name].numel() for name in half if ".mlp." in name and half[name].dim() == 2)
    assert sizes["16"] - sizes["8"] == pytest.approx(saved, abs=600)  # a byte of two for each, and a header
    for name, weight in less.items():
        assert weight.dtype == torch.float32 and torch.equal(before[name], model.state_dict()[name])
        if ".mlp." in name and weight.dim() == 2:
            assert 0.01 < (weight - before[name]).norm() / before[name].norm() < 0.06, name
        else:
            assert torch.equal(weight, half[name]), name


def test_a_captioner_saved_so_narrates(tiny: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tiny, tmp_path / "run", float8=True)
    variant = recipe.save(recipe.prepare()[0], tmp_path / "out")
    check_checkpoint(dataclasses.replace(variant, source=str(tmp_path / "out")))
    family = recipe.saved(tmp_path / "out", variant, torch.device("cpu"))
    assert {weight.dtype for weight in family.model.parameters()} == {torch.float32}
    said = list(family.stream(Image.new("RGB", (32, 32), "red"), "", GenerationSettings(max_new_tokens=4, num_beams=1)))
    assert all(piece.probability for piece in said) and len(said) <= 4
