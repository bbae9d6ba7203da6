"""A picture of a class, drawn by a GPT over picture tokens.

CANDIDATES pictures are drawn side by side, and one of them is kept with the chance that the model, reading what it
drew, gives the class: sampling importance resampling (Rubin 1987; Smith and Gelfand 1992), by Bayes' rule
p(picture | class) ~ p(picture) p(class | picture). A class that stands before the picture is told so little about by
each of some two hundred tokens (a hundredth of a nat) that a small model hardly learns to heed it.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from narrator.families.decoding import processors
from narrator.families.picture_tokens import SPECIAL, START, Codebook, Vocabulary, positions_of
from narrator.settings import GenerationSettings

CANDIDATES = 32  # pictures drawn at once; a tenth of them show the class by chance
SURE = 0.5  # candidates under it are kept for want of better ones only, after ROUNDS rounds
ROUNDS = 3
_ACROSS = 8  # candidates side by side in a sheet
Drawn = tuple[torch.Tensor, float, torch.Tensor | None]


@torch.inference_mode()
def steps(model: Any, vocabulary: Vocabulary, given: torch.Tensor, shown: torch.Tensor,
          settings: GenerationSettings, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the centres (B, 1) of each of the `count` patches that is still to come, and the model's own probability of
    them (B,).

    given: (B, T) ids of what has been said. shown: (B, m) centres of the patches that are there.
    """
    warp = processors(dataclasses.replace(settings, repetition_penalty=1.0, no_repeat_ngram_size=0))
    generator = torch.Generator(given.device).manual_seed(settings.seed)
    positions, rows, cache = positions_of(given, count), len(given), None
    for place in range(shown.shape[1], count):
        seen = given.new_ones(rows, positions.shape[1] if cache is None else cache.get_seq_length() + 1)
        output = model(input_ids=given, position_ids=positions, attention_mask=seen, past_key_values=cache,
                       use_cache=True, logits_to_keep=1)
        cache, logits = output.past_key_values, output.logits[:, -1].float()
        pieces = logits[:, len(SPECIAL):vocabulary.first_class]  # (B, K): nothing but the picture goes on
        pieces = warp(given, pieces)
        token = pieces.argmax(-1, keepdim=True) if settings.temperature == 0 else \
            torch.multinomial(pieces.softmax(-1), 1, generator=generator)
        given, positions = token + len(SPECIAL), positions.new_full((rows, 1), place + 1)
        yield token, logits.softmax(-1).gather(1, given)[:, 0]


@torch.inference_mode()
def class_chances(model: Any, vocabulary: Vocabulary, tokens: torch.Tensor, at_once: int = 64) -> torch.Tensor:
    """(B, n) centres -> (B, classes) probabilities at `<CLS>`, among the class tokens."""
    return torch.cat([model(input_ids=part, logits_to_keep=1).logits[:, -1, vocabulary.first_class:].float().softmax(-1)
                      for part in vocabulary.question(tokens).split(at_once)])


def as_seen(codebook: Codebook, tokens: torch.Tensor) -> torch.Tensor:
    """(B, n) centres -> (B, n) those of the picture that they make: where neighbours do not fit, others than were
    drawn."""
    return codebook.encode(codebook.decode(tokens))


def of_class(model: Any, codebook: Codebook, vocabulary: Vocabulary, label: int, settings: GenerationSettings
             ) -> Iterator[Drawn]:
    """Yield (all candidates as far as they are drawn, (H, W) in 0..1; the mean probability of their tokens; None) once
    a token, at last (the kept picture, 1.0, its centres (1, n)). The seed decides what is drawn and what is kept."""
    device = codebook.centres.device
    kept = torch.zeros(0, codebook.count, dtype=torch.long, device=device)
    weights = torch.zeros(0, device=device)
    begin = torch.full((CANDIDATES, 1), START, device=device)
    for again in range(ROUNDS):
        tokens = kept.new_zeros(CANDIDATES, 0)
        fresh = dataclasses.replace(settings, seed=settings.seed + again)
        for token, probability in steps(model, vocabulary, begin, tokens, fresh, codebook.count):
            tokens = torch.cat([tokens, token], dim=1)
            yield _sheet(codebook.decode(tokens)), float(probability.mean()), None
        kept = torch.cat([kept, tokens])
        weights = torch.cat([weights, class_chances(model, vocabulary, as_seen(codebook, tokens))[:, label]])
        if float(weights.max()) >= SURE:
            break
    if float(weights.max()) >= SURE:
        weights = torch.where(weights >= SURE, weights, 0.0)  # many a little likely one must not outweigh the few
    generator = torch.Generator(device).manual_seed(settings.seed)
    chosen = kept[torch.multinomial(weights, 1, generator=generator)]  # (1, n)
    yield codebook.decode(chosen)[0], 1.0, chosen


def _sheet(pictures: torch.Tensor) -> torch.Tensor:
    """(B, S, S) -> (B / across * S, across * S): rows of candidates, with nothing between them."""
    side = pictures.shape[-1]
    rows = nn.functional.pad(pictures, (0, 0, 0, 0, 0, -len(pictures) % _ACROSS))
    return rows.view(-1, _ACROSS, side, side).transpose(1, 2).reshape(-1, _ACROSS * side)
