"""Why a run broke off, in a sentence that says what to do next: memory, disk, or what the libraries said."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from trainer.config import Stage, TrainingConfig

_NO_MEMORY = re.compile(r"not enough memory|out of memory|cannot allocate memory|can't allocate memory|bad_alloc", re.I)
# safetensors and torch.save put the system's error into words; 27, 28 and 122 are EFBIG, ENOSPC and EDQUOT on Linux.
_NO_ROOM = re.compile(r"no space left|file too large|quota exceeded|os error (27|28|122)\b|PytorchStreamWriter failed|"
                      r"inline_container|file write failed|iostream error|the disk is full", re.I)
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_ADAPTED = ("causal_lm", "projector_lm", "hub_vlm")  # recipes that know adapters
_LEAST = 64  # pixels: a smaller picture shows too little


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or the GPU's."""
    return any(isinstance(one, MemoryError) or type(one).__name__ == "OutOfMemoryError"
               or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
               or (isinstance(one, RuntimeError) and _NO_MEMORY.search(str(one)) is not None) for one in _chain(error))


def disk_full(error: BaseException) -> bool:
    """Whether a file could not grow: a full disk, a quota, or a limit on its size."""
    return any((isinstance(one, OSError) and one.errno in _FULL) or _NO_ROOM.search(str(one)) is not None
               for one in _chain(error))


def memory_sentence(config: TrainingConfig, stage: Stage | None, device: str) -> str:
    """What to lower, with the numbers of this configuration: the size of a batch first, since activations grow with
    it, then pictures or texts, then the weights that learn."""
    where = "the GPU" if device.startswith("cuda") else "this machine"
    if stage is None:
        return (f"The memory of {where} did not suffice for the model itself. "
                f"{_sentence(_weights(config, device) or ['take a smaller base, or smaller width and layers'])}")
    kept = []
    if stage.batch_size > 1:
        kept.append(f"stages.{stage.name}.batch_size (now {stage.batch_size}) to {stage.batch_size // 2}")
    if stage.objective == "self_critical" and stage.samples > 2:
        kept.append(f"stages.{stage.name}.samples (now {stage.samples}) to {max(2, stage.samples // 2)}")
    if config.recipe == "encoder_decoder" and not config.base and stage.train_encoder and config.image_size > _LEAST:
        kept.append(f"image_size (now {config.image_size}) to {max(_LEAST, config.image_size * 5 // 7 // 16 * 16)}")
    elif config.recipe in _ADAPTED and config.max_tokens > 32:
        kept.append(f"max_tokens (now {config.max_tokens}) to {config.max_tokens // 2}")
    ways = [f"lower {' or '.join(kept)}"] if kept else []
    ways += _weights(config, device) or ([] if kept else ["take smaller width and layers"])
    return (f"The memory of {where} did not suffice for the stage '{stage.name}' ({stage.batch_size} a step). "
            f"{_sentence(ways)}")


def disk_sentence(folder: Path, step: int) -> str:
    """What is free, and where the run goes on. step: of the last whole checkpoint, 0 when there is none."""
    try:
        free = f"{shutil.disk_usage(folder).free / 2**20:,.0f} MB are free there"
    except OSError:
        free = "how much is free there cannot be told"
    kept = f"the checkpoint of step {step:,} is whole" if step else "no checkpoint had been written yet"
    return (f"The disk is full: {folder} could not be written ({free}); {kept}. Free some space, then "
            f"`python -m trainer resume {folder}` goes on from there.")


def _weights(config: TrainingConfig, device: str) -> list[str]:
    """Ways to fewer weights that learn, or smaller ones."""
    if config.recipe not in _ADAPTED or not config.base:
        return []
    if config.lora is None:
        return ["train adapters instead of all weights (lora: {r: 16})"]
    ways = [f"lower lora.r (now {config.lora.r}) to {config.lora.r // 2}"] if config.lora.r > 1 else []
    if config.quantize != "4bit" and device.startswith("cuda"):
        ways.append("set quantize to 4bit")
    return ways


def _sentence(ways: list[str]) -> str:
    """The ways in one sentence, and what to do with them: settings belong to a run from its start."""
    told = ways[0][0].upper() + ways[0][1:] + "".join(f", or {way}" for way in ways[1:])
    return f"{told}; then start it anew, since a run keeps its settings."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those behind it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
