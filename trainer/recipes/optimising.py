"""What the recipes share of a step: groups of parameters, and the loss on the next token."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from trainer.config import Stage
from trainer.recipes.teacher import IGNORED

_MOST_GROUPS = 8
_BEGINNING, _ON_GPU = {"cpu": 64}, 4096  # tokens that take about as long as beginning a group


def adamw_groups(model: nn.Module, stage: Stage, rate_of: Callable[[str], float] | None = None
                 ) -> list[dict[str, Any]]:
    """AdamW's groups of the parameters that learn: no decay on vectors. rate_of: name of a parameter -> its peak rate;
    without it all have the stage's `learning_rate`."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = rate_of(name) if rate_of else stage.learning_rate
            decay = stage.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()]


def answer_loss(logits: torch.Tensor, wanted: torch.Tensor, smoothing: float, *, mean: bool = True) -> torch.Tensor:
    """Mean (or sum) of the cross-entropy over the tokens that count, a scalar (nats a token).

    logits: (B, T, V), what stands before each token foretells; wanted: (B, T), IGNORED where nothing counts.
    """
    counted = wanted != IGNORED
    return nn.functional.cross_entropy(logits[counted].float(), wanted[counted], label_smoothing=smoothing,
                                       reduction="mean" if mean else "sum")


def length_groups(lengths: Sequence[int], device: str) -> list[list[int]]:
    """Rows of a batch in groups of like length, each padded to its own longest: as many groups as make the least of
    tokens, padding included, and of what beginning another group costs. The batch stays what it was, and its loss."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])

    def cut(groups: int) -> list[list[int]]:
        size = -(-len(order) // groups)
        return [order[start:start + size] for start in range(0, len(order), size)]

    def work(groups: int) -> int:
        return sum(len(rows) * lengths[rows[-1]] + _BEGINNING.get(device, _ON_GPU) for rows in cut(groups))

    return cut(min(range(1, min(_MOST_GROUPS, len(order)) + 1), key=work))
