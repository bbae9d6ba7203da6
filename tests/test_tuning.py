"""Training goes on from a captioner that is there: its eyes, its words, and the words that the new captions add."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_captioner import WORDS
from training import COLOURS

from narrator.settings import GenerationSettings
from trainer.config import load_config, parse_config
from trainer.recipes.encoder_decoder import EncoderDecoderRecipe

PRESETS = Path(__file__).resolve().parent.parent / "trainer" / "presets"
CONFIG: dict[str, Any] = {
    "name": "tuned", "base": "checkpoints/tiny-captioner", "data": [{"path": "captions.jsonl", "split": "train"}],
    "dev": [{"path": "captions.jsonl", "split": "dev"}], "min_count": 2, "precision": "fp32",
    "stages": [{"name": "tune", "learning_rate": 1e-2, "label_smoothing": 0.0}]}


@pytest.fixture
def recipe(tiny: Path, tiny_checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncoderDecoderRecipe:
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tiny_checkpoints))
    return EncoderDecoderRecipe(parse_config(CONFIG, "test"), tiny, tmp_path, torch.device("cpu"))


def test_new_words_stand_after_those_it_knew_and_begin_near_them(recipe: EncoderDecoderRecipe) -> None:
    known = recipe.tokenizer.get_vocab()
    assert [known[word] for word in WORDS] == list(range(4, 4 + len(WORDS)))  # as the base has them
    assert {"square", "blue"} <= known.keys() and "purple" not in known
    model = recipe.prepare()[0]
    rows = model.decoder.get_input_embeddings().weight
    assert rows.shape[0] == model.decoder.config.vocab_size == len(known) > 4 + len(WORDS)
    assert model.decoder.lm_head.weight is rows
    spread = rows[:4 + len(WORDS)].std(0)
    assert ((rows[4 + len(WORDS):] - rows[:4 + len(WORDS)].mean(0)).abs() < 4 * spread).all()


def test_it_learns_to_say_the_new_words_and_keeps_its_eyes(recipe: EncoderDecoderRecipe, tmp_path: Path) -> None:
    model, stage = recipe.prepare()[0], recipe.config.stages[0]
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    dataset = recipe.dataset(stage, model, lambda done, total: None)
    batch = recipe.collate([dataset[index] for index in range(9)])
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model, stage), lr=1e-2)
    for _ in range(80):
        loss = recipe.loss(model, batch, stage)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.encoder.state_dict().items())

    variant = recipe.save(model.eval(), tmp_path / "tuned")
    saved = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert saved["decoder"]["vocab_size"] == len(recipe.tokenizer)
    family = recipe.saved(tmp_path / "tuned", variant, torch.device("cpu"))
    said = {colour: "".join(piece.text for piece in family.batch([Image.new("RGB", (32, 40), rgb)], [""],
                                                                 GenerationSettings(max_new_tokens=12))[0])
            for colour, rgb in COLOURS.items()}
    assert all("square" in text for text in said.values()), said


def test_the_preset_for_ones_own_pictures_is_of_this_kind() -> None:
    config = load_config(PRESETS / "photo-captioner-tune.yaml")
    assert config.base == "checkpoints/photo-captioner" and not config.stages[0].train_encoder
