"""What a language model expects of answers that are known: their loss, and that of the whole padded rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

AT_ONCE = 32  # answers
LOGITS = 2**27  # held at once
Tell = Callable[[int, int], None]


@torch.inference_mode()
def losses(model: Any, rows: Sequence[tuple[list[int], int]], pad: int, longest: int | None, tell: Tell) -> np.ndarray:
    """(N, 4): of each row the nats and the tokens of its answer, then of everything: prompt and padding up to `longest`
    tokens too, 0 and 0 without `longest`.

    rows: tokens, and where the answer begins. pad: the token that fills a row; what follows a row's end is not seen.
    """
    found = []
    width = longest or max((len(ids) for ids, _ in rows), default=1)
    size = max(1, min(AT_ONCE, LOGITS // (width * model.config.get_text_config(decoder=True).vocab_size)))
    for first in range(0, len(rows), size):
        part = rows[first:first + size]
        ids = torch.full((len(part), width), pad)
        mask, counted = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for row, (tokens, start) in enumerate(part):
            ids[row, :len(tokens)], mask[row, :len(tokens)] = torch.tensor(tokens), 1
            counted[row, start:len(tokens)] = True
        ids, mask, counted = (tensor.to(model.device) for tensor in (ids, mask, counted))
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # a token is foretold before it
        nats = nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none")
        answers = counted[:, 1:]  # (B, width - 1)
        everything = nats.sum(1), torch.full_like(nats[:, 0], width - 1)
        if longest is None:
            everything = torch.zeros_like(nats[:, 0]), torch.zeros_like(nats[:, 0])
        found.append(torch.stack([(nats * answers).sum(1), answers.sum(1), *everything], dim=1).double().cpu())
        tell(min(first + size, len(rows)), len(rows))
    return torch.cat(found).numpy() if found else np.zeros((0, 4))
