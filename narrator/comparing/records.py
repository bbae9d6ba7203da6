"""What a comparison is made of, and how its figures read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from narrator.records import Narration
from narrator.settings import GenerationSettings

LEAST, MOST = 2, 4  # variants side by side
WAITING, RUNNING, DONE, FAILED, STOPPED = STATES = ("waiting", "running", "done", "failed", "stopped")
SCORES = {"bleu_1": "BLEU-1", "bleu_2": "BLEU-2", "bleu_3": "BLEU-3", "bleu_4": "BLEU-4", "rouge_l": "ROUGE-L"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entrant:
    """A variant that takes part, and how it generates."""

    variant: str  # its id
    settings: GenerationSettings = dataclasses.field(default_factory=GenerationSettings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a variant wrote, and how."""

    variant: str  # its id
    title: str
    settings: dict[str, Any]  # GenerationSettings
    state: str = WAITING  # one of STATES
    text: str = ""  # so far, or whole
    error: str = ""  # why there is none, a sentence
    prompt: str = ""  # what it was asked: the variant's own where none was given
    tokens: int = 0
    first_token_s: float = 0.0  # seconds from the request to the first word, loading not counted
    total_s: float = 0.0  # seconds from the request to the last word
    words: int = 0
    adjective_density: float | None = None  # adjectives that the prompt does not hold / words (narrator.metrics.text)
    confidence: float | None = None  # mean probability of the tokens
    memory_bytes: int = 0  # of its weights as they are held, 0 where they are elsewhere
    shares: tuple[str, ...] = ()  # titles of those in the comparison that hold some of the same weights
    scores: dict[str, float] = dataclasses.field(default_factory=dict)  # of SCORES, where references were given

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens over the seconds from the request to the last of them."""
        return self.tokens / self.total_s if self.tokens and self.total_s > 0 else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Results about the same picture or prompt, in the order in which they are shown."""

    created: str  # UTC, ISO 8601
    prompt: str = ""
    image_sha256: str | None = None  # of the picture's RGB pixels
    references: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    picture: bytes | None = None  # a PNG or JPEG, where it is shared, too

    def with_result(self, place: int, **changes: Any) -> Comparison:
        """The same, with the result at `place` changed."""
        changed = dataclasses.replace(self.results[place], **changes)
        return dataclasses.replace(self, results=(*self.results[:place], changed, *self.results[place + 1:]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a comparison stands. at: which result is being written, None once all are; status: a sentence; narrations:
    the results that are done, as narrations, by place."""

    comparison: Comparison
    at: int | None
    status: str
    narrations: Mapping[int, Narration] = dataclasses.field(default_factory=dict)


def figures(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """(name, a value for each result) of everything that is measured, "–" where there is none."""
    done = [one if one.state == DONE else None for one in results]
    rows = [("Time to first word", [_seconds(one.first_token_s) if one else "–" for one in done]),
            ("Time in all", [_seconds(one.total_s) if one else "–" for one in done]),
            ("Tokens per second", [_number(one.tokens_per_s, ".1f") if one else "–" for one in done]),
            ("Length", [_length(one) if one else "–" for one in done]),
            ("Adjectives", [_number(one.adjective_density, ".0%", " of the words") if one else "–" for one in done]),
            ("Sure of each word", [_number(one.confidence, ".0%") if one else "–" for one in done]),
            ("Memory of the weights", [_memory(one) if one else "–" for one in done])]
    for name, title in SCORES.items():
        if any(one and name in one.scores for one in done):
            rows.append((title, [_number(one.scores.get(name), ".3f") if one else "–" for one in done]))
    return rows


def changed_settings(result: Result) -> str:
    """The settings that are not the usual ones, and the seed: "temperature 0.8, seed 3"."""
    usual = dataclasses.asdict(GenerationSettings())
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in result.settings.items()
                     if name == "seed" or value != usual.get(name))


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _length(one: Result) -> str:
    return f"{one.words} words, {one.tokens} tokens"


def _memory(one: Result) -> str:
    if not one.memory_bytes:
        return "–"
    held = f"{one.memory_bytes / 10**6:,.1f} MB" if one.memory_bytes < 10**9 else f"{one.memory_bytes / 10**9:,.2f} GB"
    return f"{held}, shared with {' and '.join(one.shares)}" if one.shares else held
