"""Several texts about one picture in one row: each reads the picture and itself, as if it stood there alone.

The picture is read once for all of them, with the same loss: a text is at the positions that it would have alone, and
no text sees another (Dehghani et al. 2023, "Patch n' Pack", arXiv:2307.06304, packs pictures the same way).
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from narrator.families.projector_model import ProjectorLM
from trainer.recipes.teacher import IGNORED

_PADDED = -1  # as the branch of a position; 0 is the picture, 1 and up its texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """B pictures with their texts, L positions each at most.

    embeddings: (B, L, width). mask: (B, 1, L, L), what each position sees, as the language model's attention takes it.
    positions: (B, L). wanted: (B, L - P), the token that each position after the picture's P foretells, IGNORED where
    nothing counts.
    """

    embeddings: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    wanted: torch.Tensor


def branched(model: ProjectorLM, patches: torch.Tensor, texts: Sequence[Sequence[torch.Tensor]],
             starts: Sequence[Sequence[int]]) -> Rows:
    """patches: (B, P, vision width). texts: of each picture, token ids, each (T,); starts: where each one's answer
    begins, which is what counts. Each picture has a text at least."""
    seen, device = patches.shape[1], patches.device
    fronts = model.in_front(patches).unflatten(0, (len(patches), seen + 1))  # the last of a picture is the separator
    every = [ids for about in texts for ids in about]
    words = iter(model.get_input_embeddings()(torch.cat(every)).to(fronts.dtype).split([len(ids) for ids in every]))
    rows = [torch.cat([front[:-1], *(part for _ in about for part in (front[-1:], next(words)))])
            for front, about in zip(fronts, texts, strict=True)]
    lengths = [[len(ids) + 1 for ids in about] for about in texts]
    branch = _padded([torch.repeat_interleave(torch.arange(len(own) + 1), torch.tensor([seen, *own]))
                      for own in lengths], _PADDED).to(device)
    positions = _padded([torch.cat([torch.arange(seen), *(torch.arange(seen, seen + length) for length in own)])
                         for own in lengths], 0).to(device)
    wanted = _padded([torch.cat([_foretold(ids, start) for ids, start in zip(about, begun, strict=True)])
                      for about, begun in zip(texts, starts, strict=True)], IGNORED)
    return Rows(embeddings=_padded(rows, 0.0), mask=_mask(model, branch), positions=positions, wanted=wanted)


def _padded(rows: Sequence[torch.Tensor], value: float) -> torch.Tensor:
    padded: torch.Tensor = pad_sequence(list(rows), batch_first=True, padding_value=value)
    return padded


def _foretold(ids: torch.Tensor, start: int) -> torch.Tensor:
    """What the separator and the tokens (T,) of a text foretell, (T + 1,): the answer and its end."""
    wanted = ids.new_full((len(ids) + 1,), IGNORED)
    wanted[start:-1] = ids[start:]
    return wanted


def _mask(model: ProjectorLM, branch: torch.Tensor) -> torch.Tensor:
    """(B, L) -> (B, 1, L, L): a position sees the picture and its own text, up to itself."""
    length = branch.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    sees = (((branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None])) & before)[:, None]
    if model.language.config._attn_implementation == "sdpa":
        return sees
    unseen = torch.finfo(model.language.dtype).min
    return torch.zeros(sees.shape, dtype=model.language.dtype, device=branch.device).masked_fill(~sees, unseen)
