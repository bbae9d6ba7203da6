"""How likely a captioner finds what people wrote about pictures that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from narrator.families.encoder_decoder import EncoderDecoder
from narrator.metrics.text import ratio
from narrator.pictures import open_picture
from narrator.records import Example, Score
from trainer.recipes import Tell
from trainer.recipes.captions import collate
from trainer.recipes.encoders import features, project
from trainer.recipes.teacher import IGNORED, teacher_forced

AT_ONCE = 32  # pictures


def caption_loss(family: EncoderDecoder, examples: Sequence[Example],
                 encode: Callable[[Sequence[str]], list[list[int]]], tell: Tell) -> Score:
    """Mean cross-entropy in nats of a token of all captions, their ends included, without label smoothing; 95 %
    bootstrap interval over the pictures. encode: captions -> tokens, as the recipe learns them. The model's training
    mode is put back. Raises NarratorError where there is no caption."""
    was_training = family.model.training
    family.model.eval()
    nats: list[float] = []
    tokens: list[float] = []
    try:
        for start in range(0, len(examples), AT_ONCE):
            part = examples[start:start + AT_ONCE]
            found = _sums(family, part, [encode(example.texts) for example in part])
            nats, tokens = nats + found[0], tokens + found[1]
            tell(len(nats), len(examples))
    finally:
        family.model.train(was_training)
    return ratio(nats, tokens, higher_is_better=False)


@torch.inference_mode()
def _sums(family: EncoderDecoder, examples: Sequence[Example], captions: Sequence[list[list[int]]]
          ) -> tuple[list[float], list[float]]:
    """(nats, tokens) of each picture's captions."""
    pictures = [open_picture(example.image) for example in examples if example.image is not None]  # all: see Run.dev
    pixels = torch.stack([family.pictures(picture) for picture in pictures]).to(family.device)
    patches = project(family.model, features(family.model, pixels))  # (B, P, width)
    items: list[dict[str, Any]] = [{"index": row, "input": torch.zeros(0), "captions": captions[row]}
                                   for row in range(len(examples))]
    batch = {name: part.to(family.device) for name, part in collate(items).items()}
    nats, tokens = torch.zeros(2, len(examples), dtype=torch.float64, device=family.device)
    for rows, wanted, logits in teacher_forced(family.model.decoder, patches, batch["picture"], batch["labels"]):
        counts = wanted != IGNORED
        each = nn.functional.cross_entropy(logits, wanted[counts], reduction="none").double()  # (tokens,)
        owner = batch["picture"][rows][:, None].expand_as(wanted)[counts]
        nats.index_add_(0, owner, each)
        tokens.index_add_(0, owner, torch.ones_like(each))
    return nats.tolist(), tokens.tolist()
