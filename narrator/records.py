"""The nouns, the protocols and the one error. Imports no torch, so that tabs and jobs stay light."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image


class NarratorError(Exception):
    """Something a person can mend: the message says in one sentence what happened and what to do next."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a variant takes."""

    image: bool
    text: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A model that a person can pick: one row of the catalog."""

    id: str  # kebab-case, unique in the catalog
    title: str
    family: str  # a module of narrator.families
    source: str  # a folder (relative paths: relative to its variant.yaml) or a Hub id
    inputs: Inputs
    revision: str | None = None  # of a Hub id
    several: bool = False  # whether one prompt may hold several pictures
    adapter: str | None = None  # a folder of LoRA weights put on top of `source`
    default_prompt: str = ""
    parameters: int = 0  # count
    dtype: str = "float32"  # of the weights on disk
    license: str = ""
    provenance: str = ""  # one sentence: who trained it, on what

    def takes(self) -> list[str]:
        """What it can be given: "picture" or "pictures", "text"."""
        picture = "pictures" if self.several else "picture"
        return [name for name, wanted in ((picture, self.inputs.image), ("text", self.inputs.text)) if wanted]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """One step of a generation.

    text: what the step adds to the description (may be empty: beam search has nothing to show before its end).
    probability: of the chosen token given all before it (0..1), None where the family cannot tell.
    tokens: how many tokens the piece stands for.
    label, ranked: as in Narration, once they are known.
    picture: what a variant that draws has drawn so far.
    """

    text: str
    probability: float | None = None
    tokens: int = 1
    label: str | None = None
    ranked: tuple[tuple[str, float], ...] = ()
    picture: Image | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Narration:
    """A finished description."""

    id: str
    created: str  # UTC, ISO 8601
    image_sha256: str | None  # of the picture's RGB pixels after EXIF orientation; of several: of their hashes
    variant_id: str
    prompt: str
    settings: dict[str, Any]
    text: str
    tokens: int
    first_token_s: float  # seconds from the request to the first token
    total_s: float  # seconds from the request to the last token
    confidence: float | None  # mean token probability, 0..1
    uncertain: tuple[str, ...] = ()  # words whose probability is under the threshold, in order of the text
    uncertain_at: tuple[int, ...] = ()  # which words of the text these are, from 0 (narrator.narrate: word_spans)
    label: str | None = None  # the class of the picture, from a variant that tells one
    probability: float | None = None  # of the label
    ranked: tuple[tuple[str, float], ...] = ()  # (class, probability), likeliest first; without a label: next tokens
    audio: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One thing to learn from, or to be measured on."""

    image: Path | None
    texts: tuple[str, ...]  # all references
    prompt: str = ""
    label: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
    higher_is_better: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricReport:
    """What an evaluation found: `scores` by the metric's name, over `n` examples of `data`."""

    variant_id: str
    data: str
    n: int
    scores: dict[str, Score]
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mark:
    """A sentence of a speech and when it sounds."""

    text: str
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speech:
    """A spoken text: a mono 16-bit WAV at `path`."""

    path: Path
    rate_hz: int
    seconds: float
    marks: tuple[Mark, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Voice:
    """A voice of a speech engine; `languages` are BCP 47 tags, the first one its main."""

    id: str
    name: str
    languages: tuple[str, ...]


class Family(Protocol):
    """One kind of model architecture. Built as `Family(variant, device)`; holds the weights until `close()`.

    A family may have `takes_adapter = True` (it puts `variant.adapter` on), `unsupported`, the names of the
    GenerationSettings that it does not know: a request that changes one is refused, and
    `stream_many(images, prompt, settings)`, which is `stream` about several pictures at once. With `shares(variant)`,
    whether a variant of the same source can stand on the weights in memory, it has `beside(variant)`, which builds the
    family that does. For measuring
    (narrator.evaluate) it may have `answer_losses`, the loss of answers that are known, and `judge`, what it tells of
    pictures whose classes are known.
    """

    def stream(self, image: Image | None, prompt: str, settings: Any) -> Iterator[Piece]:
        """Yield pieces as they are generated; closing the iterator ends the generation within a step."""
        ...

    def batch(self, images: Sequence[Image | None], prompts: Sequence[str], settings: Any) -> list[list[Piece]]:
        """One list of pieces for each input, the same as one by one."""
        ...

    def close(self) -> None:
        """Let go of the weights."""
        ...


class SpeechEngine(Protocol):
    """Turns text into a WAV file."""

    def voices(self) -> list[Voice]: ...

    def synthesize(self, text: str, path: Path, voice: str | None = None, speed: float = 1.0,
                   pitch: int = 50, volume: float = 1.0, stop: threading.Event | None = None) -> Speech:
        """speed 1.0 is 165 words a minute; pitch 0..100; volume 0..1; setting `stop` ends it and leaves no file."""
        ...
