"""Weights as a variant ships them."""

import copy
from pathlib import Path

import torch
from transformers import PreTrainedModel

SMALL = 100_000_000  # parameters; the shards of a smaller model stay below what a repository takes without LFS
SHARD, LARGE_SHARD = "9MB", "2GB"


def save_weights(model: PreTrainedModel, folder: Path) -> int:
    """Write config and weights in bf16, as safetensors in shards; the model itself stays as it is.

    Returns the number of its parameters.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    small = copy.deepcopy(model).to(torch.bfloat16)
    small.save_pretrained(folder, max_shard_size=SHARD if total < SMALL else LARGE_SHARD)
    return total
