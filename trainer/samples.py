"""The same few held-out examples at every evaluation: what the model says of them beside the reference, and beside the
words of the weights that the run began with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from narrator.pictures import open_picture
from narrator.records import Example
from narrator.settings import GenerationSettings
from narrator.wording import joined, tidy
from trainer import jobs

COUNT = 8
LONGEST = 500  # characters of a text in an event
FILE, PICTURES = "samples.json", "samples"  # in the run's folder; pictures that have no file of their own
GREEDY = GenerationSettings(num_beams=1)


@dataclasses.dataclass
class Samples:
    """The examples, and of each a row: index (its place in the dev sets, one after the other), image (path or None),
    prompt, reference, base."""

    examples: list[Example] = dataclasses.field(default_factory=list)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def spoken(self, family: Any) -> list[dict[str, Any]]:
        """The rows, each with `text`: what the family says, greedily."""
        return [{**row, "text": text} for row, text in zip(self.rows, say(family, self.examples), strict=True)]


def choose(dev: Mapping[str, Sequence[Example]], count: int = COUNT) -> dict[int, Example]:
    """Up to `count` of all dev sets by their places, evenly spread; always the same."""
    everything = [example for examples in dev.values() for example in examples]
    count = min(count, len(everything))
    places = [round(place * (len(everything) - 1) / max(1, count - 1)) for place in range(count)]
    return {place: everything[place] for place in places}


def begin(folder: Path, recipe: Any, dev: Mapping[str, Sequence[Example]], model: Any) -> tuple[Samples, bool]:
    """(the samples of a run, whether they are new). model: as the run begins with it, asked for its words the first
    time; None where its weights are random and it has none."""
    chosen = choose(dev)
    examples = recipe.asked(list(chosen.values()))
    rows = [{"index": place, "image": _path(folder, place, example), "prompt": example.prompt[:LONGEST],
             "reference": example.texts[0][:LONGEST] if example.texts else "", "base": ""}
            for place, example in zip(chosen, examples, strict=True)]
    samples = Samples(examples, rows)
    known = _known(folder)
    if known is not None and len(known) == len(rows):
        for row, base in zip(rows, known, strict=True):
            row["base"] = base
        return samples, False
    if model is not None:
        with recipe.autocast():
            for row, text in zip(rows, say(recipe.speaker(model), examples), strict=True):
                row["base"] = text
    jobs.write_whole(folder / FILE, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    return samples, True


def say(family: Any, examples: Sequence[Example]) -> list[str]:
    """What a family says of each example, greedily; its model's training mode is put back."""
    if not examples:
        return []
    was_training = family.model.training
    family.model.eval()
    try:
        with torch.inference_mode():
            told = family.batch([_picture(example) for example in examples], [example.prompt for example in examples],
                                GREEDY)
    finally:
        family.model.train(was_training)
    return [tidy(joined(pieces))[:LONGEST] for pieces in told]


def _picture(example: Example) -> Image.Image | None:
    if example.image is not None:
        return open_picture(example.image)
    pixels = getattr(example, "pixels", None)  # a Digit's
    return None if pixels is None else Image.fromarray(pixels)


def _path(folder: Path, place: int, example: Example) -> str | None:
    """Where the example's picture lies; one that is only in an array is written into the run's folder."""
    if example.image is not None:
        return str(example.image)
    picture = _picture(example)
    if picture is None:
        return None
    path = folder / PICTURES / f"{place}.png"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        picture.save(path)
    return str(path)


def _known(folder: Path) -> list[str] | None:
    """The base's words as an earlier start of the run kept them."""
    try:
        rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return [str(row["base"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return None
