"""How many steps the stages take, and how much of the disk a run needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from narrator.hub.pulling import size
from trainer.config import Stage, TrainingConfig
from trainer.preflight.findings import Finding
from trainer.preflight.sets import DataSet
from trainer.run import evaluations_of, stage_steps

KEPT = 2  # checkpoints of a stage: the best and the last; a third while it is being written
ADAPTERS_ALONE = ("causal_lm", "hub_vlm")  # recipes that save nothing else where `lora` is set
NEARLY = 0.8  # of the free disk


def steps_of(config: TrainingConfig, sets: Sequence[DataSet]) -> dict[str, int | None]:
    """Steps of each stage by its name; None where nothing could be read to learn from."""
    if not any(one.side == "data" for one in sets):
        return {stage.name: None for stage in config.stages}
    return {stage.name: stage_steps(stage, SimpleNamespace(size=lambda stage: items_of(config, sets, stage)))
            for stage in config.stages}


def items_of(config: TrainingConfig, sets: Sequence[DataSet], stage: Stage) -> int:
    """Items in one pass of the stage, as its recipe counts them."""
    learned = [one for one in sets if one.side == "data"]
    times = {id(one): one.source.repeat if stage.repeat else 1 for one in learned}
    images = {item.example.image for one in learned for item in one.items}
    if config.recipe == "causal_lm":
        answers = sum(times[id(one)] * sum(len(item.example.texts) for item in one.items
                                           if item.example.prompt or len(item.example.texts) > 1) for one in learned)
        return max(1, round(answers * config.vivid)) if answers else 0
    if config.recipe == "projector_lm":
        return len(images - {None})
    if config.recipe == "hub_vlm":
        return sum(times[id(one)] * sum(stage.objective == "answer" or not item.example.prompt for item in one.items)
                   for one in learned)
    if config.recipe == "encoder_decoder":
        pictures = sum(times[id(one)] * len(one.items) for one in learned) if stage.repeat else len(images)
        texts = sum(len(one.items) for one in sets if one.side == "text")
        return pictures + (texts if stage.objective == "language" else 0)
    return sum(times[id(one)] * len(one.items) for one in learned)


def disk_bytes(config: TrainingConfig, counts: Mapping[str, tuple[int, int]], steps: Mapping[str, int | None],
               cache: int = 0) -> int:
    """What a run leaves and needs at its fullest: of each stage its checkpoints (float32 weights and AdamW's two
    moments) and its best weights, one checkpoint more while it is written, the variant in 16 bits, and features.

    counts: stage -> (parameters that learn, all). steps: stage -> its steps, None where that is not known. cache:
    bytes of the features of a stage.
    """
    alone = config.lora is not None and config.recipe in ADAPTERS_ALONE
    whole, largest, variant = 0, 0, 0
    for stage in config.stages:
        learning, total = counts[stage.name]
        weights = 4 * (learning if alone else total)
        checkpoint = weights + 8 * learning
        known = steps.get(stage.name)
        kept = stage.evaluations if known is None else evaluations_of(stage, known)
        whole += min(KEPT, kept) * checkpoint + weights
        largest, variant = max(largest, checkpoint), weights // 2
    return whole + largest + variant + cache


def disk_finding(needed: int, folder: Path) -> Finding:
    """Whether it fits where the run would stand. folder: need not be there yet."""
    place = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    remedy = "Free some space, name a folder on another disk with --runs, or train adapters ('lora') alone."
    if needed > free:
        return Finding(level="error", what=f"The run needs about {size(needed)} of disk, and {size(free)} are free.",
                       remedy=remedy)
    if needed > NEARLY * free:
        return Finding(level="warning", what=f"The run needs about {size(needed)} of the {size(free)} of free disk.",
                       remedy=remedy)
    return Finding(level="ok", what=f"The run needs about {size(needed)} of disk; {size(free)} are free.")
