"""Self-critical sequence training: sampled captions are rewarded by CIDEr-D.

Rennie et al. 2017, "Self-critical sequence training for image captioning", arXiv:1612.00563, with the mean reward of a
picture's other samples as the baseline (Luo 2020, "A better variant of self-critical sequence training",
arXiv:2003.09971).
"""

from collections.abc import Sequence

import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from narrator.families.decoding import steps
from narrator.metrics.cider import CiderD
from narrator.metrics.tokenize import ptb_tokens
from narrator.settings import GenerationSettings
from trainer.recipes.teacher import IGNORED, teacher_forced


class Reward:
    """CIDEr-D against the training references. The end counts as a word, or captions would learn to break off after
    "a"."""

    def __init__(self, references: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.never = [tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id]
        self.words = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        end = tokenizer.eos_token
        self.cider = CiderD({row: [[*ptb_tokens(text), end] for text in texts] for row, texts in enumerate(references)})

    def __call__(self, rows: Sequence[int], tokens: torch.Tensor) -> torch.Tensor:
        """rows: the example of each of the N captions; tokens: (N, T), padded after the end -> (N,)"""
        pad = self.tokenizer.pad_token_id
        said = [[self.words[token] for token in caption if token != pad] for caption in tokens.tolist()]
        return torch.tensor(self.cider.scores(zip(rows, said, strict=True)))


def self_critical_loss(decoder: GPT2LMHeadModel, patches: torch.Tensor, rows: Sequence[int], reward: Reward, *,
                       samples: int, longest: int) -> torch.Tensor:
    """Minus the mean over sampled tokens of advantage x log-probability.

    patches: (B, P, width), with gradient. rows: the B examples. Captions are sampled without dropout and scored with
    it off too,
    so that the gradient is that of the policy that spoke.
    """
    was_training = decoder.training
    decoder.eval()
    settings = GenerationSettings(max_new_tokens=longest + 1, num_beams=1, temperature=1.0, no_repeat_ngram_size=0)
    told = list(steps(decoder, patches.detach(), settings, never=reward.never, samples=samples))
    torch.clear_autocast_cache()  # sampling left weights there that were cast without a gradient
    tokens = torch.stack([step[0] for step in told], dim=1).clone()  # (B * samples, T)
    repeated = [row for row in rows for _ in range(samples)]
    score = reward(repeated, tokens).to(patches.device)
    grouped = score.view(-1, samples)
    others = (grouped.sum(1, keepdim=True) - grouped) / (samples - 1)
    advantage = (grouped - others).flatten()  # (B * samples,)

    picture = torch.arange(len(patches), device=patches.device).repeat_interleave(samples)
    labels = tokens.masked_fill(tokens == decoder.config.pad_token_id, IGNORED)  # the end counts, what follows does not
    total = patches.new_zeros((), dtype=torch.float32)
    for group, wanted, logits in teacher_forced(decoder, patches, picture, labels):
        kept = wanted != IGNORED
        allowed = logits.index_fill(1, torch.tensor(reward.never, device=logits.device), -torch.inf)
        log_probability = allowed.log_softmax(-1).gather(1, wanted[kept][:, None])[:, 0]
        total = total - (advantage[group][:, None].expand_as(wanted)[kept] * log_probability).sum()
    decoder.train(was_training)
    return total / (labels != IGNORED).sum()
