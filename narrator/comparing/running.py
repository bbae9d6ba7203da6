"""Variants one after the other on the device, their texts as they come, then what can be counted on them."""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from narrator.catalog import find_variant
from narrator.comparing.records import (
    DONE,
    FAILED,
    LEAST,
    MOST,
    RUNNING,
    SCORES,
    STOPPED,
    Comparison,
    Entrant,
    Progress,
    Result,
)
from narrator.engine import Engine, shared_engine
from narrator.families.modes import find_mode, modes_of
from narrator.knobs import build
from narrator.narrate import MAX_PROMPT, narrate
from narrator.pictures import Source, open_picture, picture_sha256
from narrator.records import Narration, NarratorError, Variant
from narrator.settings import GenerationSettings
from narrator.turns import Stopped

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_REFERENCES = 20
Given = tuple["Image | None", str]  # picture and prompt


def compare(entrants: Sequence[Entrant], image: Source | None = None, prompt: str = "", *,
            references: Iterable[str] = (), engine: Engine | None = None,
            stop: threading.Event | None = None) -> Generator[Progress, None, None]:
    """Yield the comparison as it grows; of the last one every result is done, failed or stopped.

    Each variant takes of picture and prompt what it can, is loaded before its time is taken, and speaks in its turn.
    One that fails tells why in its result, and the others go on. Closing the iterator, or setting `stop`, ends it
    within a step. Raises NarratorError for fewer than 2 or more than 4 entrants, two that are the same, a variant that
    there is none of, and a picture that cannot be opened.
    """
    engine = engine or shared_engine()
    variants = _checked(entrants, engine)
    references = checked_references(references)
    picture = None if image is None else open_picture(image)
    made = Comparison(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), prompt=checked_prompt(prompt),
        image_sha256=None if picture is None else picture_sha256(picture), references=references,
        results=tuple(Result(variant=variant.id, title=variant.title, settings=dataclasses.asdict(entrant.settings))
                      for variant, entrant in zip(variants, entrants, strict=True)))
    told: dict[int, Narration] = {}
    for place, variant in enumerate(variants):
        given = (picture, _prompt_for(variant, made.prompt))
        for progress in _one(made, place, given, engine, stop):
            made, told = progress.comparison, {**told, **progress.narrations}
            yield dataclasses.replace(progress, narrations=told)
        if stop is not None and stop.is_set():
            break
    for place, result in enumerate(made.results):
        if result.state not in (DONE, FAILED):
            made = made.with_result(place, state=STOPPED)
    yield Progress(comparison=_together(made, engine), at=None, status=_summary(made), narrations=told)


def again(comparison: Comparison) -> list[Entrant]:
    """The same variants with the same settings, so that the same texts come. Raises NarratorError for settings out of
    range."""
    return [Entrant(variant=one.variant, settings=build(GenerationSettings, one.settings, one.title))
            for one in comparison.results]


def checked_references(references: Iterable[str]) -> tuple[str, ...]:
    """References with single spaces, empty ones left out. Raises NarratorError for too many or too long ones."""
    found = tuple(" ".join(text.split()) for text in references if text.strip())
    if len(found) > MAX_REFERENCES:
        raise NarratorError(f"These are {len(found)} references; give {MAX_REFERENCES} at most.")
    if any(len(text) > MAX_PROMPT for text in found):
        raise NarratorError(f"A reference has more than {MAX_PROMPT:,} characters; shorten it.")
    return found


def checked_prompt(prompt: str) -> str:
    """The prompt without spaces around it. Raises NarratorError for one that is too long."""
    prompt = (prompt or "").strip()
    if len(prompt) > MAX_PROMPT:
        raise NarratorError(f"The prompt has {len(prompt):,} characters; shorten it to {MAX_PROMPT:,}.")
    return prompt


def _checked(entrants: Sequence[Entrant], engine: Engine) -> list[Variant]:
    if not LEAST <= len(entrants) <= MOST:
        raise NarratorError(f"Choose {LEAST} to {MOST} variants to compare, not {len(entrants)}.")
    variants = [find_variant(entrant.variant, engine.checkpoints) for entrant in entrants]
    for place, entrant in enumerate(entrants):
        if entrant in entrants[:place]:
            raise NarratorError(f"{variants[place].title} is there twice with the same settings: choose another "
                                "variant, or give one of the two settings of its own.")
    return variants


def _prompt_for(variant: Variant, prompt: str) -> str:
    """What a variant is asked: one that has modes takes no free text, so that it does its usual thing."""
    if modes_of(variant) and find_mode(variant, prompt) is None:
        return ""
    return prompt if variant.inputs.text else ""


def _one(made: Comparison, place: int, given: Given, engine: Engine,
         stop: threading.Event | None) -> Iterator[Progress]:
    """One variant's turn."""
    result = made.results[place]
    made = made.with_result(place, state=RUNNING)
    variant = find_variant(result.variant, engine.checkpoints)
    try:
        yield Progress(comparison=made, at=place, status=engine.outlook(variant))
        with engine.use(variant.id, stop=stop):  # loaded outside of the time that is measured
            memory, _ = engine.memory(variant.id)
        yield Progress(comparison=made, at=place, status="Describing …")
        settings = build(GenerationSettings, result.settings, variant.title)
        for update in narrate(variant.id, given[0], given[1], settings, engine, stop):
            if update.narration is not None:
                made = made.with_result(place, **_measured(update.narration, memory))
                yield Progress(comparison=made, at=place, status="Describing …",
                               narrations={place: update.narration})
            elif update.text and update.text != made.results[place].text:
                made = made.with_result(place, text=update.text)
                yield Progress(comparison=made, at=place, status=update.status)
    except Stopped:
        return
    except NarratorError as error:
        yield Progress(comparison=made.with_result(place, state=FAILED, error=str(error)), at=place,
                       status=f"{variant.title} failed.")


def _measured(narration: Narration, memory: int) -> dict[str, object]:
    """What is known of a variant once it has spoken. memory: bytes."""
    from narrator.metrics.text import adjectives

    adjective, words = adjectives(narration.text, narration.prompt)
    return {"state": DONE, "text": narration.text, "prompt": narration.prompt, "tokens": narration.tokens,
            "first_token_s": narration.first_token_s, "total_s": narration.total_s, "words": words,
            "adjective_density": adjective / words if words else None, "confidence": narration.confidence,
            "memory_bytes": memory}


def _together(made: Comparison, engine: Engine) -> Comparison:
    """What needs all of them: who shares weights with whom, and the scores against the references. CIDEr-D is left out,
    since no n-gram tells one picture alone from others."""
    titles = {one.variant: one.title for one in made.results if one.state == DONE}
    for place, one in enumerate(made.results):
        others = engine.memory(one.variant)[1] if one.state == DONE else ()
        made = made.with_result(place, shares=tuple(titles[name] for name in others if name in titles))
    if made.references:
        from narrator.metrics.scores import caption_scores

        for place, one in enumerate(made.results):
            if one.state == DONE and one.text:
                scores = caption_scores({0: made.references}, {0: one.text}, intervals=False)
                made = made.with_result(place, scores={name: scores[name].value for name in SCORES})
    return made


def _summary(made: Comparison) -> str:
    states = [one.state for one in made.results]
    if STOPPED in states:
        return "Stopped. What was written so far is kept."
    failed = states.count(FAILED)
    if failed == len(states):
        return "None of the variants could do this: each says why."
    ready = len(states) - failed
    said = "1 description is ready" if ready == 1 else f"{ready} descriptions are ready"
    return f"{said}; {failed} failed, and {'says' if failed == 1 else 'say'} why." if failed else f"{said}."
