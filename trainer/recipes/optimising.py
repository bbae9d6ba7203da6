"""What the recipes share of a step: groups of parameters, and the loss on the next token."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from trainer.config import Stage
from trainer.recipes.teacher import IGNORED


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


def answer_loss(logits: torch.Tensor, wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Mean cross-entropy over the tokens that count, a scalar (nats a token).

    logits: (B, T, V), what stands before each token foretells; wanted: (B, T), IGNORED where nothing counts.
    """
    counted = wanted != IGNORED
    return nn.functional.cross_entropy(logits[counted].float(), wanted[counted], label_smoothing=smoothing)
