"""For tests of the plumbing: a family that says given words at a given pace, and a checkpoint folder for it.

It computes nothing, so it says nothing about the quality of a description; those tests use real weights.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.numpy import save_file

from narrator.records import Piece, Variant
from narrator.settings import GenerationSettings

WORDS = [["a", 0.9], [" dog", 0.8], [" ru", 0.2], ["ns", 0.9], [" on", 0.95], [" grass", 0.7], ["", 0.99]]


class Sayer:
    """Says `words` ([text, probability] pairs of its config.json), one each `step_s` seconds."""

    inside = 0  # how many generations run now
    most_inside = 0
    steps = 0  # over all generations
    alive: list[str] = []  # ids built and not closed
    batches: list[int] = []
    _guard = threading.Lock()

    def __init__(self, variant: Variant, device: str) -> None:
        config = json.loads((Path(variant.source) / "config.json").read_text())
        self.words: list[list[Any]] = config["words"]
        self.step_s: float = config["step_s"]
        self.id = variant.id
        Sayer.alive.append(self.id)

    @classmethod
    def reset(cls) -> None:
        cls.inside = cls.most_inside = cls.steps = 0
        cls.alive, cls.batches = [], []

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        with Sayer._guard:
            Sayer.inside += 1
            Sayer.most_inside = max(Sayer.most_inside, Sayer.inside)
        try:
            for text, probability in self.words[:settings.max_new_tokens]:
                time.sleep(self.step_s)
                Sayer.steps += 1
                yield Piece(text=text, probability=probability)
        finally:
            time.sleep(self.step_s)  # the running step is waited for
            with Sayer._guard:
                Sayer.inside -= 1

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        Sayer.batches.append(len(images))
        return [[Piece(text="" if image is None else f"{image.width} wide", probability=0.5)] for image in images]

    def close(self) -> None:
        with contextlib.suppress(ValueError):  # built before the last reset
            Sayer.alive.remove(self.id)


def write_checkpoint(parent: Path, variant_id: str = "sayer", *, words: list | None = None, step_s: float = 0.0,
                     parameters: int = 1000, **manifest: Any) -> Path:
    """A whole checkpoint folder for `Sayer`, with two shards and an index; `manifest` overrides its variant.yaml."""
    folder = parent / variant_id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"words": WORDS if words is None else words, "step_s": step_s}))
    places = {}
    for number, name in enumerate(("first", "second"), start=1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: np.zeros(parameters // 2, dtype=np.float16)}, folder / shard)
        places[name] = shard
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    values = {"id": variant_id, "title": f"The {variant_id}", "family": "sayer", "source": ".",
              "inputs": {"image": True, "text": False}, "dtype": "float16", **manifest}
    (folder / "variant.yaml").write_text(yaml.safe_dump(values))
    return folder
