"""How well a language model answers held-out prompts: what it expects of known answers, and what it says itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from narrator.families.causal_lm import CausalLM, padding
from narrator.metrics.scores import caption_scores
from narrator.metrics.text import perplexity, ratio, text_scores
from narrator.records import Example, Score
from narrator.settings import GenerationSettings
from trainer.recipes import Tell
from trainer.recipes.pairs import collate, encode
from trainer.recipes.teacher import IGNORED
from trainer.scenes import scene_type

AT_ONCE = 50  # prompts answered
LOGITS = 2**27  # held at once


def score(family: CausalLM, examples: Sequence[Example], longest: int, *, beams: int, intervals: bool, tell: Tell
          ) -> tuple[dict[str, Score], dict[str, list[float]]]:
    """(scores of the examples, type of scene -> nats a token of each of its answers). longest: tokens of a row.

    The scores: loss_answer and loss_everything (nats a token, on the first reference), perplexity of the answer, those
    of `narrator.metrics.text` for what the model says, and caption scores of that against all references.
    """
    sums = losses(family.model, family.tokenizer, examples, longest)  # (N, 4)
    by_type: dict[str, list[float]] = {}
    for example, (nats, tokens, *_) in zip(examples, sums.tolist(), strict=True):
        by_type.setdefault(scene_type(example.texts), []).append(nats / tokens)
    settings, said = GenerationSettings(num_beams=beams), list[str]()
    for start in range(0, len(examples), AT_ONCE):
        prompts = [example.prompt for example in examples[start:start + AT_ONCE]]
        told = family.batch([None] * len(prompts), prompts, settings)
        said += ["".join(piece.text for piece in pieces) for pieces in told]
        tell(len(said), len(examples))
    references = {row: example.texts for row, example in enumerate(examples)}
    return {"loss_answer": ratio(sums[:, 0], sums[:, 1], intervals=intervals, higher_is_better=False),
            "loss_everything": ratio(sums[:, 2], sums[:, 3], intervals=intervals, higher_is_better=False),
            "perplexity": perplexity(sums[:, 0], sums[:, 1], intervals=intervals),
            **_text_scores(said, [example.prompt for example in examples], intervals),
            **caption_scores(references, dict(enumerate(said)), intervals=intervals)}, by_type


@torch.inference_mode()
def losses(model: Any, tokenizer: Any, examples: Sequence[Example], longest: int) -> np.ndarray:
    """(N, 4): nats and tokens of each first reference as the answer, its end included, then of everything: the whole
    row, prompt and padding up to `longest` tokens, as those count who take padded rows as labels."""
    size = max(1, min(32, LOGITS // (longest * len(tokenizer))))
    rows = []
    for first in range(0, len(examples), size):
        pairs = [encode(tokenizer, example.prompt, example.texts[0], longest)
                 for example in examples[first:first + size]]
        batch = collate([{"ids": ids, "start": start} for ids, start in pairs], padding(tokenizer), longest)
        batch = {name: part.to(model.device) for name, part in batch.items()}
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
        given, counted = batch["input_ids"][:, 1:], batch["labels"][:, 1:] != IGNORED  # (B, longest - 1)
        nats = nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), given, reduction="none")
        rows.append(torch.stack([(nats * counted).sum(1), counted.sum(1), nats.sum(1),
                                 torch.full_like(nats[:, 0], longest - 1)], dim=1).double().cpu())
    return torch.cat(rows).numpy()


def _text_scores(said: Sequence[str], prompts: Sequence[str], intervals: bool) -> Mapping[str, Score]:
    """All nought where a model says nothing at all, as one at its beginning may."""
    if not any(text.strip() for text in said):
        zero = Score(value=0.0, low=0.0, high=0.0)
        return dict.fromkeys(("distinct_1", "distinct_2", "repetition", "adjective_density", "words"), zero)
    return text_scores(said, prompts, intervals=intervals)
