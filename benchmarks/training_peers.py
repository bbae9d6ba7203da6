"""The plain scripts that benchmarks/training.py measures beside ours: a row a text, padded to one length, stacked by
transformers' default collator, every picture decoded and encoded in every step. The same model, texts and loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import DataCollatorForSeq2Seq, default_data_collator

from narrator.families.causal_lm import padding
from narrator.pictures import open_picture
from trainer.config import Stage
from trainer.recipes.asked import Asking
from trainer.recipes.image_gpt import augment
from trainer.recipes.picture_losses import losses
from trainer.recipes.teacher import IGNORED

Batch = dict[str, torch.Tensor]


class Peer:
    """What a plain script hands to transformers' Trainer: model, rows, collator, and how many rows make a batch."""

    def __init__(self, model: nn.Module, rows: Dataset, batch_size: int,
                 collate: Callable[..., Any] = default_data_collator) -> None:
        self.model, self.rows, self.batch_size, self.collate = model, rows, batch_size, collate


class Rows(Dataset):
    """Items, each made when it is asked for."""

    def __init__(self, items: Sequence[Any], make: Callable[[Any], dict[str, Any]]) -> None:
        self.items, self.make = items, make

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.make(self.items[index])


class WithLoss(nn.Module):
    """A model whose forward gives the loss, as the Trainer wants it."""

    def __init__(self, model: nn.Module, compute: Callable[[Any, Batch], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.compute = model, compute

    def forward(self, **batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """{"loss": a scalar}"""
        return {"loss": self.compute(self.model, batch)}


def peer_of(recipe: Any, stage: Stage, model: Any, *, longest: bool = False) -> Peer:
    """The plain script for a stage of this recipe. longest: rows of text padded to the longest of the batch."""
    if recipe.config.recipe == "causal_lm":
        return _prompted(recipe, stage, model, longest)
    return {"encoder_decoder": _captioner, "projector_lm": _seeing, "image_gpt": _tokens}[recipe.config.recipe](
        recipe, stage, model)


def text_rows(recipe: Any, items: Sequence[dict[str, Any]], longest: bool) -> Rows:
    """Items of `Answers` as a tokenised data set: the answer's tokens are the labels."""
    pad, width = padding(recipe.tokenizer), recipe.config.max_tokens

    def row(item: dict[str, Any]) -> dict[str, Any]:
        ids, start = item["ids"], item["start"]
        more = 0 if longest else width - len(ids)
        return {"input_ids": [*ids, *[pad] * more], "attention_mask": [*[1] * len(ids), *[0] * more],
                "labels": [*[IGNORED] * start, *ids[start:], *[IGNORED] * more]}

    return Rows([row(item) for item in items], lambda made: made)


def _prompted(recipe: Any, stage: Stage, model: Any, longest: bool) -> Peer:
    answers = recipe.dataset(stage, model, lambda done, total: None)
    rows = text_rows(recipe, [answers[row] for row in range(len(answers))], longest)
    recipe.tokenizer.padding_side = "right"
    collate = DataCollatorForSeq2Seq(recipe.tokenizer) if longest else default_data_collator
    return Peer(model, rows, stage.batch_size, collate)


def caption_rows(recipe: Any, pairs: Sequence[tuple[Path, list[int]]]) -> Rows:
    """(picture, caption) as pixels, and the caption padded to `max_words` and its end."""
    width, tokens = recipe.config.max_words + 1, recipe.tokenizer

    def row(pair: tuple[Path, list[int]]) -> dict[str, Any]:
        image, ids = pair
        more = width - len(ids)
        given = [tokens.bos_token_id, *ids[:-1], *[tokens.pad_token_id] * more]
        return {"pixel_values": recipe.to_pixels(open_picture(image)), "decoder_input_ids": torch.tensor(given),
                "labels": torch.tensor([*ids, *[IGNORED] * more])}

    return Rows(pairs, row)


def _captioner(recipe: Any, stage: Stage, model: Any) -> Peer:
    pairs = [(example.image, ids) for example, captions in zip(recipe.examples, recipe.captions, strict=True)
             for ids in captions]

    def compute(whole: Any, batch: Batch) -> torch.Tensor:
        logits = whole(pixel_values=batch["pixel_values"], decoder_input_ids=batch["decoder_input_ids"],
                       decoder_attention_mask=(batch["labels"] != IGNORED).long()).logits
        return _cross_entropy(logits, batch["labels"], stage)

    texts = len(pairs) / len(recipe.examples)
    return Peer(WithLoss(model, compute), caption_rows(recipe, pairs), round(stage.batch_size * texts))


def question_rows(recipe: Any, pairs: Sequence[tuple[Path, tuple[list[int], int]]]) -> Rows:
    """(picture, (tokens of prompt and answer, where the answer begins)) as pixels and padded tokens."""
    width, pad = recipe.config.max_tokens, padding(recipe.tokenizer)

    def row(pair: tuple[Path, tuple[list[int], int]]) -> dict[str, Any]:
        image, (ids, start) = pair
        more = width - len(ids)
        return {"pixel_values": recipe.to_pixels(open_picture(image)), "input_ids": torch.tensor([*ids, *[pad] * more]),
                "attention_mask": torch.tensor([*[1] * len(ids), *[0] * more]),
                "labels": torch.tensor([*[IGNORED] * start, *ids[start:], *[IGNORED] * more])}

    return Rows(pairs, row)


def _seeing(recipe: Any, stage: Stage, model: Any) -> Peer:
    asking = Asking(recipe.examples, recipe.tokenizer, stage.objective, recipe.config.max_tokens, recipe.companions)
    drawn = [(image, asking.draw(image)) for image in asking.rows]
    pairs = [(image, pair) for image, found in drawn for pair in found]

    def compute(whole: Any, batch: Batch) -> torch.Tensor:
        with torch.no_grad():  # frozen, and computed anew all the same
            patches = whole.patches(batch["pixel_values"])
        seen = torch.stack([whole.in_front(one[None]) for one in patches])  # (N, P + 1, width)
        words = whole.get_input_embeddings()(batch["input_ids"])
        mask = torch.cat([batch["attention_mask"].new_ones(seen.shape[:2]), batch["attention_mask"]], dim=1)
        logits = whole(inputs_embeds=torch.cat([seen.to(words.dtype), words], dim=1), attention_mask=mask,
                       use_cache=False).logits[:, seen.shape[1] - 1:-1]
        return _cross_entropy(logits, batch["labels"], stage)

    return Peer(WithLoss(model, compute), question_rows(recipe, pairs),  # type: ignore[arg-type]
                round(stage.batch_size * len(pairs) / len(drawn)))


def _tokens(recipe: Any, stage: Stage, model: Any) -> Peer:
    config = recipe.config

    def row(index: int) -> dict[str, Any]:
        pixels = recipe.pixels[index][None].float() / 255
        tokens = recipe.codebook.encode(augment(pixels, shift=config.shift, turn=config.turn, zoom=config.zoom))
        made = recipe.vocabulary.class_first if torch.rand(()) < config.class_first_share else \
            recipe.vocabulary.sequence
        return {"input_ids": made(tokens, recipe.labels[index][None])[0]}

    def compute(whole: Any, batch: Batch) -> torch.Tensor:
        picture, told = losses(whole, recipe.vocabulary, batch["input_ids"], smoothing=stage.label_smoothing)
        return config.lm_weight * picture + config.class_weight * told

    return Peer(WithLoss(model, compute), Rows(range(len(recipe.labels)), row), stage.batch_size)


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor, stage: Stage) -> torch.Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED,
                                       label_smoothing=stage.label_smoothing)
