"""Evaluations during a run: the dev pictures described by the model as it stands, and scored."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from narrator.metrics.scores import caption_scores
from narrator.pictures import open_picture
from narrator.records import Example, NarratorError, Score
from narrator.settings import GenerationSettings
from narrator.wording import joined, tidy

BATCH = 50  # pictures
Tell = Callable[[int, int], None]


def evaluate(family: Any, sets: Mapping[str, Sequence[Example]], *, beams: int, intervals: bool,
             tell: Tell = lambda done, total: None) -> dict[str, dict[str, Score]]:
    """Scores of each set by its name. family: has `batch` and `model`; the model's training mode is put back."""
    settings = GenerationSettings(num_beams=beams)
    was_training = family.model.training
    family.model.eval()
    try:
        return {name: _scores(family, examples, settings, intervals, tell) for name, examples in sets.items()}
    finally:
        family.model.train(was_training)


def overall(scores: Mapping[str, Mapping[str, Score]], sets: Mapping[str, Sequence[Example]]) -> float:
    """One figure for early stopping of a describer: CIDEr-D, the sets weighted by their pictures."""
    total = sum(len(examples) for examples in sets.values())
    return sum(scores[name]["cider_d"].value * len(examples) for name, examples in sets.items()) / total


def by_metric(scores: Mapping[str, Mapping[str, Score]], sets: Mapping[str, Sequence[Example]], metric: str) -> float:
    """The metric's mean over the sets that have it, weighted by their examples; negated where lower is better. Raises
    NarratorError where none has it."""
    found = {name: of_set[metric] for name, of_set in scores.items() if metric in of_set}
    total = sum(len(sets[name]) for name in found)
    if not total:
        known = ", ".join(sorted({name for of_set in scores.values() for name in of_set}))
        raise NarratorError(f"The held-out examples have no score '{metric}'. They have: {known}. The settings of a "
                            "run cannot be changed: start a new one, with 'metric' one of the recipe's that is among "
                            "them, or empty.")
    return sum((one.value if one.higher_is_better else -one.value) * len(sets[name])
               for name, one in found.items()) / total


def plain(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, dict[str, dict[str, float]]]:
    """Scores as JSON holds them, rounded to four digits."""
    return {name: {metric: {key: round(value, 4) for key, value in dataclasses.asdict(score).items()
                            if key in ("value", "low", "high")}
                   for metric, score in of_set.items()} for name, of_set in scores.items()}


def _scores(family: Any, examples: Sequence[Example], settings: GenerationSettings, intervals: bool, tell: Tell
            ) -> dict[str, Score]:
    said: dict[int, str] = {}
    for start in range(0, len(examples), BATCH):
        part = examples[start:start + BATCH]
        pictures = [open_picture(example.image) for example in part if example.image is not None]  # all: see Run.dev
        with torch.inference_mode():
            described = family.batch(pictures, [""] * len(pictures), settings)
        said |= {start + row: tidy(joined(pieces)) for row, pieces in enumerate(described)}
        tell(len(said), len(examples))
    references = {row: example.texts for row, example in enumerate(examples)}
    return caption_scores(references, said, intervals=intervals)
