"""Picture -> discrete tokens -> a GPT of our own, which tells the class at the tail and goes on with pictures.

The prompt chooses the mode: "" or "classify", "continue", "generate 7", "next".
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families import picture_drawing, picture_reading
from narrator.families.loading import load_whole
from narrator.families.picture_tokens import (
    SPECIAL,
    START,
    Codebook,
    Vocabulary,
    check_room,
    to_picture,
    to_pixels,
)
from narrator.metrics.classification import Told
from narrator.records import NarratorError, Piece, Variant
from narrator.settings import GenerationSettings

DRAWING = GenerationSettings(temperature=1.0, top_p=0.95)  # the likeliest picture of all is nearly a blank one
_AT_ONCE = 64  # pictures
_TOP = 3  # how many classes are told


class ImageGpt:
    """The family of `digit-reader`."""

    unsupported = ("max_new_tokens", "num_beams", "repetition_penalty", "no_repeat_ngram_size", "length_penalty")

    def __init__(self, variant: Variant, device: str) -> None:
        """Load weights and codebook from the variant's folder. Raises OSError, ValueError, KeyError or SafetensorError
        when they are damaged, NarratorError when the model is too short for its pictures."""
        folder = Path(variant.source)
        self._hold(_load(folder).to(device).eval(), Codebook.load(folder))

    @classmethod
    def around(cls, model: GPT2LMHeadModel, codebook: Codebook) -> "ImageGpt":
        """The family over a model that is in memory already, as while it learns."""
        family = cls.__new__(cls)
        family._hold(model, codebook)
        return family

    def _hold(self, model: GPT2LMHeadModel, codebook: Codebook) -> None:
        self.model, self.device = model, model.device
        self.codebook = codebook.to(model.device)
        self.vocabulary = Vocabulary(clusters=len(codebook.centres))
        check_room(model.config.n_positions, codebook.count)
        if model.config.vocab_size != self.vocabulary.size:
            raise ValueError(f"the model knows {model.config.vocab_size} tokens, its codebook has "
                             f"{self.vocabulary.size}")

    def stream(self, image: Image.Image | None, prompt: str, settings: GenerationSettings) -> Iterator[Piece]:
        """Yield pieces; while a picture is drawn, one a token with the picture so far (of a class: all candidates,
        picture_drawing), and at the end what was drawn.

        Raises NarratorError for a prompt that is no mode, and for a missing picture.
        """
        mode, label = self.mode(prompt)
        if mode == "classify":
            yield from self._told(self.classify([_there(image)])[0])
        elif mode == "next":
            yield self._next(_there(image))
        elif mode == "generate":
            for pixels, probability, chosen in self._of_class(label, settings):
                if chosen is None:
                    yield Piece(text="", probability=probability, picture=to_picture(pixels))
                else:
                    yield self._finished(mode, label, chosen)
        else:
            given, tokens = self._half(_there(image), 0.5)
            for token, probability in self._steps(given, tokens, settings):
                tokens = torch.cat([tokens, token], dim=1)
                yield Piece(text="", probability=float(probability[0]), picture=self._drawn(tokens))
            yield self._finished(mode, label, tokens)

    def batch(self, images: Sequence[Image.Image | None], prompts: Sequence[str],
              settings: GenerationSettings) -> list[list[Piece]]:
        """One list of pieces for each input; the pictures that are to be classified go together."""
        together = [row for row, prompt in enumerate(prompts) if self.mode(prompt)[0] == "classify"]
        read = self.classify([_there(images[row]) for row in together])
        known = dict(zip(together, read, strict=True))
        return [self._told(known[row]) if row in known else list(self.stream(image, prompt, settings))
                for row, (image, prompt) in enumerate(zip(images, prompts, strict=True))]

    def close(self) -> None:
        """Let go of the weights."""
        del self.model

    def mode(self, prompt: str) -> tuple[str, int]:
        """("classify" | "continue" | "generate" | "next", the class asked for or -1); NarratorError for another."""
        words = prompt.lower().split()
        if not words or words in (["classify"], ["continue"], ["next"]):
            return (words or ["classify"])[0], -1
        if len(words) == 2 and words[0] == "generate" and words[1] in self.classes:
            return "generate", self.classes.index(words[1])
        raise NarratorError(f"This model cannot do {prompt[:40]!r}. Leave the prompt empty or write "
                            f"classify, continue, next, or generate and one of {', '.join(self.classes)}.")

    @property
    def classes(self) -> list[str]:
        """What the classes are called, in order."""
        return [str(number) for number in range(self.vocabulary.classes)]

    def classify(self, images: Sequence[Image.Image], top_k: int = _TOP) -> list[list[tuple[str, float]]]:
        """For each picture its likeliest classes with their probabilities (0..1), the likeliest first."""
        return self._ranked(self.class_chances(self._tokens(images)), top_k) if images else []

    def judge(self, pairs: Iterable[tuple[Image.Image, int]],
              tell: picture_reading.Tell = lambda done, total: None) -> Told:
        """What the model tells of pictures with their classes, each let go of once it is read: chances of the classes,
        the loss of the picture, and the chances with the pictures exchanged. Raises NarratorError for a class that it
        does not know."""
        return picture_reading.judge(self.model, self.codebook, self.vocabulary, pairs, tell)

    def complete(self, image: Image.Image, share: float = 0.5,
                 settings: GenerationSettings | None = None) -> Image.Image:
        """The picture with what lies below the upper `share` (0..1, whole rows of patches) drawn by the model."""
        return list(self.completing(image, share, settings))[-1]

    def completing(self, image: Image.Image, share: float = 0.5,
                   settings: GenerationSettings | None = None) -> Iterator[Image.Image]:
        """Yield the picture as `complete` draws it, once a token: first as it is shown to the model."""
        given, shown = self._half(image, share)
        yield self._drawn(shown)
        for token, _ in self._steps(given, shown, settings or GenerationSettings()):
            shown = torch.cat([shown, token], dim=1)
            yield self._drawn(shown)

    def generate(self, label: int, settings: GenerationSettings | None = None) -> Image.Image:
        """A picture of a class: mode L, as large as those of the training. Temperature 0 counts as 1 (DRAWING)."""
        return to_picture(list(self._of_class(label, settings or GenerationSettings()))[-1][0])

    @torch.inference_mode()
    def next_probabilities(self, image: Image.Image, n_shown: int, top_k: int = 5) -> list[tuple[str, float]]:
        """The likeliest tokens ("<Z_012>") to follow the first `n_shown` patches, with their probabilities (0..1).

        Raises NarratorError unless 0 <= n_shown < the number of patches.
        """
        if not 0 <= n_shown < self.codebook.count:
            raise NarratorError(f"Show 0 to {self.codebook.count - 1} of the picture's patches, not {n_shown}.")
        given = self._begun(self._tokens([image])[:, :n_shown])
        chances = self.model(input_ids=given, logits_to_keep=1).logits[0, -1].float().softmax(-1)
        best = chances[len(SPECIAL):self.vocabulary.first_class].topk(min(top_k, self.vocabulary.clusters))
        names = self.vocabulary.names()
        return [(names[index + len(SPECIAL)], chance)
                for index, chance in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def class_chances(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, n) centres -> (B, classes) probabilities at `<CLS>`, among the class tokens."""
        return picture_drawing.class_chances(self.model, self.vocabulary, tokens, _AT_ONCE)

    def _steps(self, given: torch.Tensor, shown: torch.Tensor, settings: GenerationSettings
               ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return picture_drawing.steps(self.model, self.vocabulary, given, shown, settings, self.codebook.count)

    def _of_class(self, label: int, settings: GenerationSettings) -> Iterator[picture_drawing.Drawn]:
        if not 0 <= label < self.vocabulary.classes:
            raise NarratorError(f"The classes are {', '.join(self.classes)}; there is no {label}.")
        if settings.temperature == 0:
            settings = dataclasses.replace(DRAWING, seed=settings.seed)
        return picture_drawing.of_class(self.model, self.codebook, self.vocabulary, label, settings)

    def _drawn(self, tokens: torch.Tensor) -> Image.Image:
        return to_picture(self.codebook.decode(tokens)[0])

    def _half(self, image: Image.Image, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The ids and the centres of the picture's upper part."""
        if not 0 <= share <= 1:
            raise NarratorError(f"The share of the picture that is shown is between 0 and 1, not {share:g}.")
        shown = self._tokens([image])[:, :round(share * self.codebook.side) * self.codebook.side]
        return self._begun(shown), shown

    def _begun(self, shown: torch.Tensor) -> torch.Tensor:
        return torch.cat([shown.new_full((len(shown), 1), START), shown + len(SPECIAL)], dim=1)

    def _tokens(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = torch.stack([to_pixels(image, self.codebook.size) for image in images])
        return self.codebook.encode(pixels.to(self.device))

    def _ranked(self, chances: torch.Tensor, top_k: int) -> list[list[tuple[str, float]]]:
        best = chances.topk(min(top_k, self.vocabulary.classes))
        return [[(self.classes[index], chance) for index, chance in zip(row, values, strict=True)]
                for row, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)]

    def _told(self, ranked: Sequence[tuple[str, float]]) -> list[Piece]:
        (name, chance), *others = ranked
        rest = ", ".join(f"{other} ({percent(lesser)})" for other, lesser in others)
        return [Piece(text=f"The digit {name} ({percent(chance)}).", probability=chance),
                Piece(text=f" Next: {rest}.", tokens=0, label=name, ranked=tuple(ranked))]

    def _finished(self, mode: str, label: int, tokens: torch.Tensor) -> Piece:
        """What was drawn, and what the model itself reads it as."""
        ranked = self._ranked(self.class_chances(picture_drawing.as_seen(self.codebook, tokens)), _TOP)[0]
        name, chance = ranked[0]
        done = f"A {label}, drawn" if mode == "generate" else "The lower half, completed"
        return Piece(text=f"{done}. It reads as the digit {name} ({percent(chance)}).", tokens=0, label=name,
                     ranked=tuple(ranked), picture=self._drawn(tokens))

    def _next(self, image: Image.Image) -> Piece:
        half = self.codebook.side // 2 * self.codebook.side
        told = [(name.strip("<>"), chance) for name, chance in self.next_probabilities(image, half)]
        listed = ", ".join(f"{name} ({percent(chance)})" for name, chance in told[:_TOP])
        text = f"After {half} of {self.codebook.count} patches the next is {listed}."
        return Piece(text=text, probability=told[0][1], ranked=tuple(told))


def percent(chance: float) -> str:
    """A probability for a person: whole percents, more digits near 0 and 1.

    >>> percent(0.982), percent(0.997), percent(0.9999), percent(0.0051), percent(0.00001)
    ('98 %', '99.7 %', 'over 99.9 %', '0.5 %', 'under 0.1 %')
    """
    if chance > 0.9994:
        return "over 99.9 %"
    if chance < 0.0005:
        return "under 0.1 %"
    return f"{100 * chance:.{0 if 0.0095 <= chance <= 0.9905 else 1}f} %"


def _there(image: Image.Image | None) -> Image.Image:
    if image is None:
        raise NarratorError("This model reads pictures of digits. Add a picture first, or ask it to generate one.")
    return image


def _load(folder: Path) -> GPT2LMHeadModel:
    """The model in float32; ValueError when it is of another kind or lacks weights."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != GPT2Config.model_type:
        raise ValueError(f"config.json describes a {kind}, not a {GPT2Config.model_type}")
    return load_whole(GPT2LMHeadModel, folder)
