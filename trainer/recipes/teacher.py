"""Teacher forcing: what a decoder gives to captions that are known, many of one picture at a time."""

from collections.abc import Iterator

import torch
from transformers import GPT2LMHeadModel

from narrator.families.decoding import memory

IGNORED = -100  # labels that count for nothing
LENGTH_GROUPS = 3


def teacher_forced(decoder: GPT2LMHeadModel, patches: torch.Tensor, picture: torch.Tensor, labels: torch.Tensor
                   ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield (rows, wanted, logits) for groups of captions of like length: padded to the longest of all, half of the
    work would be on padding.

    patches: (B, P, width). picture: (N,) which of the B each caption is about. labels: (N, T), IGNORED after the end.
    rows: (R,) captions of the group. wanted: (R, t), their labels. logits: (tokens of the group that count, V),
    float32, in the order of `wanted[wanted != IGNORED]`.
    """
    lengths = (labels != IGNORED).sum(1)
    for rows in lengths.argsort().chunk(LENGTH_GROUPS):
        wanted = labels[rows, :int(lengths[rows[-1]])]
        start = torch.full_like(wanted[:, :1], decoder.config.bos_token_id)
        given = torch.cat([start, wanted[:, :-1].clamp(min=0)], dim=1)
        cache = memory(decoder, patches, picture[rows])
        states = decoder.transformer(given, past_key_values=cache, encoder_hidden_states=patches).last_hidden_state
        yield rows, wanted, decoder.lm_head(states[wanted != IGNORED]).float()
