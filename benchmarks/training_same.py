"""Whether ours and the plain script of benchmarks/training.py learn the same: their losses on the same few texts."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.training_peers import Peer, caption_rows, peer_of, question_rows, text_rows
from narrator.pictures import open_picture
from trainer.config import Stage
from trainer.recipes.asked import Asking

FEW = 4  # pictures; texts where there are none


def same_losses(recipe: Any, stage: Stage, model: Any) -> tuple[float, float]:
    """(ours, the peer's). model: in evaluation mode, so that both are without dropout."""
    recipe.parameter_groups(model, stage)
    kind = recipe.config.recipe
    peer = peer_of(recipe, stage, model)
    if kind == "image_gpt":
        batch = peer.collate([peer.rows[row] for row in range(FEW)])
        return float(recipe.loss(model, batch, stage)), _loss(peer, batch)
    if kind == "causal_lm":
        answers = recipe.dataset(stage, model, lambda done, total: None)
        items = [answers[row] for row in range(min(FEW, len(answers)))]
        rows = text_rows(recipe, items, False)
        ours = recipe.collate(items)
    elif kind == "encoder_decoder":
        ours, rows = _captions(recipe, stage, model)
    else:
        ours, rows = _questions(recipe, stage, model)
    return float(recipe.loss(model, ours, stage)), _loss(peer, peer.collate([rows[row] for row in range(len(rows))]))


def _loss(peer: Peer, batch: dict[str, torch.Tensor]) -> float:
    found = peer.model(**batch)
    return float(found["loss"])


def _captions(recipe: Any, stage: Stage, model: Any) -> tuple[Any, Any]:
    examples, captions = recipe.examples[:FEW], recipe.captions[:FEW]
    pixels = torch.stack([recipe.to_pixels(open_picture(example.image)) for example in examples])
    seen = pixels if stage.train_encoder else recipe._features(model, pixels).float()
    items = [{"index": row, "input": seen[row], "captions": captions[row]} for row in range(len(examples))]
    pairs = [(example.image, ids) for example, of_one in zip(examples, captions, strict=True) for ids in of_one]
    return recipe.collate(items), caption_rows(recipe, pairs)


def _questions(recipe: Any, stage: Stage, model: Any) -> tuple[Any, Any]:
    asking = Asking(recipe.examples, recipe.tokenizer, stage.objective, recipe.config.max_tokens, recipe.companions)
    images = asking.rows[:FEW]
    drawn = [asking.draw(image) for image in images]
    pixels = torch.stack([recipe.to_pixels(open_picture(image)) for image in images if image is not None])
    patches = recipe._patches(model, pixels).float()
    items = [{"patches": patches[row], "pairs": pairs} for row, pairs in enumerate(drawn)]
    pairs = [(image, pair) for image, found in zip(images, drawn, strict=True) for pair in found if image is not None]
    return recipe.collate(items), question_rows(recipe, pairs)
