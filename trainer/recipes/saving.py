"""Weights as a variant ships them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from narrator.records import NarratorError

SMALL = 100_000_000  # parameters; the shards of a smaller model stay below what a repository takes without LFS
SHARD, LARGE_SHARD = "9MB", "2GB"
Kept = Callable[[Any, str], bool]  # (model, name of a weight) -> whether a checkpoint holds it


def save_weights(model: PreTrainedModel, folder: Path, *, float8: bool = False) -> int:
    """Write config and weights in bf16, as safetensors in shards; the model itself stays as it is.

    float8: the matrices of feed-forward layers as E4M3 (Micikevicius et al. 2022, arXiv:2209.05433), half as large
    again; whoever loads them widens them. Returns the number of parameters.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    small = copy.deepcopy(model).to(torch.bfloat16)
    if float8:
        for name, parameter in small.named_parameters():
            if ".mlp." in name and parameter.dim() == 2:
                parameter.data = parameter.data.to(torch.float8_e4m3fn)
    small.save_pretrained(folder, max_shard_size=SHARD if total < SMALL else LARGE_SHARD)
    return total


def stored(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors, by name. Raises OSError or SafetensorError where it cannot be read."""
    with safe_open(path, "pt") as found:
        return {name: tuple(found.get_slice(name).get_shape()) for name in found.keys()}  # noqa: SIM118  (no dict)


def to_keep(model: Any, kept: Kept, state: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What `save_pretrained` is given as state_dict for a checkpoint: None for all weights. state: the weights, where
    they are in parts."""
    whole = model.state_dict() if state is None else state
    found = {name: tensor for name, tensor in whole.items() if kept(model, name)}
    return state if len(found) == len(whole) else found


def check_whole(model: torch.nn.Module, loaded: Any, kept: Kept = lambda model, name: True) -> None:
    """Raise NarratorError unless all weights of the model came that a checkpoint keeps, and no others. loaded: what
    `load_state_dict(..., strict=False)` gave; a weight that shares its memory with one that came need not."""
    state, missing = model.state_dict(), {name for name in loaded.missing_keys if kept(model, name)}
    found = {tensor.data_ptr() for name, tensor in state.items() if name not in missing}
    lost = [name for name in sorted(missing) if state[name].data_ptr() not in found]
    if lost or loaded.unexpected_keys:
        raise NarratorError(f"The checkpoint does not fit the model: {len(lost)} tensors are missing and "
                            f"{len(loaded.unexpected_keys)} unknown, such as {[*lost, *loaded.unexpected_keys][0]}. "
                            "Another version of this program saved it: start the training anew.")
