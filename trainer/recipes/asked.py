"""What is asked about a picture while a language model learns to read pictures: captions, or questions with answers."""

import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from narrator.families.projector_lm import DESCRIBE
from narrator.records import Example
from trainer.questions import Companions, questions
from trainer.recipes.pairs import encode, neat

PAIRS = 4  # questions about a picture in a step, at most
TO_DESCRIBE = (DESCRIBE, "What is in this picture?", "Describe the image.", "What does this photo show?")
Pair = tuple[str, str]  # prompt and answer


class Asking:
    """The pairs of each picture. Captions are asked for in the stage of captions, and once a picture in the other, so
    that describing is not forgotten."""

    def __init__(self, examples: Sequence[Example], tokenizer: Any, objective: str, longest: int,
                 others: Companions) -> None:
        self.tokenizer, self.longest = tokenizer, longest
        self.pairs: dict[Path | None, dict[str, list[Pair]]] = {}  # by kind of question
        self.captions: dict[Path | None, list[str]] = {}
        for example in examples:
            found = self.pairs.setdefault(example.image, {})
            if example.prompt:  # its own questions
                found.setdefault("given", []).extend((example.prompt, text) for text in example.texts)
                continue
            self.captions.setdefault(example.image, []).extend(map(neat, example.texts))
            for asked in questions(example, others) if objective == "answer" else ():
                found.setdefault(asked.kind, []).append((asked.prompt, asked.answer))
        self.rows = [image for image in self.pairs if self.pairs[image] or self.captions.get(image)]

    def draw(self, image: Path | None) -> list[tuple[list[int], int]]:
        """Some pairs of a picture as (tokens, where the answer begins): one of each kind before a second of any, since
        most of the questions are of one kind."""
        kinds = [random.sample(pairs, len(pairs)) for pairs in self.pairs[image].values()]
        random.shuffle(kinds)
        turns = itertools.zip_longest(*kinds)
        asked = [pair for turn in turns for pair in turn if pair is not None][:PAIRS]
        captions = self.captions.get(image, [])
        shown = random.sample(captions, min(1 if asked else PAIRS, len(captions)))
        pairs = asked + [(random.choice(TO_DESCRIBE), caption) for caption in shown]
        return [encode(self.tokenizer, prompt, answer, self.longest) for prompt, answer in pairs]


class Dialogues(Dataset):
    """Cached patches of each picture, one of the views at random, with some of what is asked about it. A picture with
    questions of its own is seen as it is: they may be about left and right."""

    def __init__(self, views: np.ndarray, places: Mapping[Path | None, int], asking: Asking) -> None:
        self.views, self.places, self.asking = views, places, asking  # views: (V, N, P, channels), float16

    def __len__(self) -> int:
        return len(self.asking.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.asking.rows[index]
        turned = 1 if "given" in self.asking.pairs[image] else len(self.views)
        seen = self.views[random.randrange(turned), self.places[image]]
        return {"patches": torch.from_numpy(seen.astype(np.float32)), "pairs": self.asking.draw(image)}


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """patches (B, P, channels); for each of the N pairs: picture, which of the B it is about, ids (T,), and starts,
    where its answer begins."""
    pairs = [(row, *pair) for row, item in enumerate(items) for pair in item["pairs"]]
    return {"patches": torch.stack([item["patches"] for item in items]), "picture": [row for row, _, _ in pairs],
            "ids": [torch.tensor(ids) for _, ids, _ in pairs], "starts": [start for _, _, start in pairs]}
