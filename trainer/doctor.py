"""Before a training: what the preset's model is, how much of it learns, what memory and how many steps it takes."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from narrator.records import NarratorError
from trainer.config import Stage, TrainingConfig
from trainer.data import read_examples
from trainer.recipes import Recipe, recipe_class
from trainer.scenes import read_scenes

_GIB = 2**30
_HELD = {"none": 4.0, "8bit": 1.0, "4bit": 0.6}  # bytes a frozen weight, its scales included


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What a stage takes. steps: None where the data is not here. memory_gib: see `memory`."""

    stage: str
    trainable: int
    total: int
    memory_gib: float
    steps: int | None


def examine(config: TrainingConfig, root: Path) -> list[Finding]:
    """One finding for each stage, from a model without weights. Raises NarratorError when a base is nowhere."""
    from trainer.recipes.skeletons import skeleton, tokens_in_a_row

    model, kind = skeleton(config, root), recipe_class(config.recipe)
    recipe: Recipe = object.__new__(kind)  # its groups need none of what a recipe reads
    total, items = _count(model), _items(config, root)
    found = []
    for stage in config.stages:
        recipe.parameter_groups(model, stage)
        learning = _count(model, learning=True)
        found.append(Finding(
            stage=stage.name, trainable=learning, total=total, steps=_steps(stage, items),
            memory_gib=memory(config, stage, (learning, total), _shape(model, tokens_in_a_row(config))) / _GIB))
    return found


def memory(config: TrainingConfig, stage: Stage, parameters: tuple[int, int],
           shape: tuple[int, int, int, int]) -> float:
    """Bytes, about: the weights as they are held, 12 more for each that learns (gradient, AdamW's two moments), and the
    activations of a batch, s b h (34 + 5 a s / h) a layer at 16 bits (Korthikanti et al. 2022, arXiv:2205.05198).

    parameters: (trainable, all). shape: tokens s, width h, heads a, layers.
    """
    learning, total = parameters
    tokens, width, heads, layers = shape
    activations = tokens * stage.batch_size * width * (34 + 5 * heads * tokens / width) * layers
    return learning * (4 + 12) + (total - learning) * _HELD[config.quantize] + activations


def told(config: TrainingConfig, found: list[Finding]) -> str:
    """The findings as lines for a terminal."""
    lines = [f"{config.name} ({config.recipe}):"]
    for one in found:
        steps = "its data is not here" if one.steps is None else f"{one.steps:,} steps"
        lines.append(f"  {one.stage}: {one.trainable:,} of {one.total:,} parameters learn "
                     f"({100 * one.trainable / one.total:.2f} %), about {one.memory_gib:.1f} GiB of memory, {steps}")
    return "\n".join(lines)


def _count(model: Any, *, learning: bool = False) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not learning)


def _shape(model: Any, tokens: int) -> tuple[int, int, int, int]:
    config = model.config.get_text_config(decoder=True)
    return tokens, config.hidden_size, config.num_attention_heads, config.num_hidden_layers


def _items(config: TrainingConfig, root: Path) -> int | None:
    """Examples of an epoch, of a prompted model its answers; None where a set is not here or only its recipe can read
    it."""
    total = 0
    for source in config.data:
        try:
            if config.recipe == "causal_lm":
                scenes = read_scenes(root / source.path, split=source.split, strict=False)[:source.limit]
                found = sum(len(scene.texts) for scene in scenes if scene.prompt or len(scene.texts) > 1)
            else:
                rows = read_examples(root / source.path, split=source.split, report=lambda line: None)
                found = len(rows[:source.limit])
        except NarratorError:
            return None
        total += found * source.repeat
    return total


def _steps(stage: Stage, items: int | None) -> int | None:
    return None if items is None else math.ceil(math.ceil(items / stage.batch_size) * stage.epochs)
