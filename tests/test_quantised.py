"""Quantised bases (bitsandbytes, which computes on processors too): adapters on them are trained, killed and gone on
with, saved, and spoken by."""

from pathlib import Path
from typing import Any

import pytest
import tiny_models
from PIL import Image
from struck import make_run, strike
from test_projector_lm import COLOURS, SETTINGS
from test_projector_lm import root as asked  # noqa: F401  (a fixture)
from training import go_on, steps_of

from narrator.catalog import MANIFEST, read_variant
from narrator.families.causal_lm import CausalLM
from narrator.families.hub_vlm import HubVLM
from narrator.families.projector_lm import ProjectorFamily
from narrator.records import Variant

LORA = {"r": 4, "alpha": 8, "dropout": 0.0}
STAGE = {"epochs": 6, "batch_size": 3, "learning_rate": 2e-2, "label_smoothing": 0.0, "evaluations": 2, "warmup": 0.0,
         "patience": 100}
COMMON: dict[str, Any] = {"name": "tiny", "precision": "fp32", "max_tokens": 32, "lora": LORA, "eval_beams": 1,
                          "workers": 0, "license": "mit"}
BITS = pytest.mark.parametrize("bits", ["8bit", "4bit"])


def trained(settings: dict[str, Any], root: Path, home: Path, *struck: int) -> Variant:
    """The variant of a run that was killed at these steps; its losses are those of one that was left alone."""
    whole, cut = (make_run({**COMMON, **settings}, root, home / name) for name in ("whole", "cut"))
    for step in struck:
        strike(cut, step)
    for run in (whole, cut):
        go_on(run)
    losses = list(steps_of(whole).values())
    assert steps_of(cut) == pytest.approx(steps_of(whole), rel=1e-5)
    assert losses[-1] < losses[0] - 0.2, losses
    return read_variant(home / "cut" / "out" / MANIFEST)


def said(family: Any, picture: Image.Image | None, prompt: str) -> str:
    return "".join(piece.text for piece in family.stream(picture, prompt, SETTINGS))


@BITS
def test_prompts(asked: Path, tmp_path: Path, bits: str) -> None:  # noqa: F811
    rows = "".join(f'{{"image_id": {number}, "captions": ["A {colour} square.", "something {colour}"]}}\n'
                   for number, colour in enumerate(COLOURS))
    (asked / "words.jsonl").write_text(rows, encoding="utf-8")
    data = [{"path": "words.jsonl"}]
    stage = {**STAGE, "name": "learn", "objective": "answer", "epochs": 20}
    variant = trained({"recipe": "causal_lm", "base": "phi", "quantize": bits, "data": data, "dev": data,
                       "held_out": 0.3, "stages": [stage]}, asked, tmp_path, 5)
    assert variant.adapter is not None and (variant.dtype == "nf4") == (bits == "4bit")
    family = CausalLM(variant, "cpu")
    assert said(family, None, "something red").startswith("A ")  # as it has learned
    assert bool(getattr(family.model, "is_quantized", False)) == (bits == "4bit")


@BITS
def test_pictures_behind_a_projector(asked: Path, tmp_path: Path, bits: str) -> None:  # noqa: F811
    """Both stages of CLIP and Phi, killed in each."""
    stage = {**STAGE, "name": "align", "objective": "answer"}
    variant = trained({
        "recipe": "projector_lm", "data": [{"path": "asked.jsonl", "split": "train"}],
        "dev": [{"path": "asked.jsonl", "split": "dev"}], "encoder": "clip", "base": "phi", "projector": "residual",
        "image_size": 32, "quantize": bits,
        "stages": [stage, {**stage, "name": "instruct", "train_language": True, "language_learning_rate": 2e-2}]},
        asked, tmp_path, 14, 44)
    assert variant.adapter is None and "quant" not in (Path(variant.source) / "config.json").read_text()
    assert said(ProjectorFamily(variant, "cpu"), Image.open(asked / "red0.png"), "What colour is it?")


@BITS
def test_models_of_a_hub(tmp_path: Path, bits: str) -> None:
    tiny_models.VISION_LANGUAGE["smolvlm"](tmp_path / "smolvlm")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    (tmp_path / "rows.jsonl").write_text('{"image": "red.png", "captions": ["a red dog runs", "a cat sits"]}\n' * 3)
    stage = {**STAGE, "name": "adapt", "objective": "caption"}
    variant = trained({"recipe": "hub_vlm", "base": "smolvlm", "quantize": bits, "data": [{"path": "rows.jsonl"}],
                       "dev": [{"path": "rows.jsonl"}], "stages": [stage]}, tmp_path, tmp_path, 4)
    assert variant.adapter is not None
    assert said(HubVLM(variant, "cpu"), Image.open(tmp_path / "red.png"), "")
