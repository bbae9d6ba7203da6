"""A request: variant + picture + prompt -> a stream of text -> a finished Narration."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import threading
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from narrator.catalog import find_variant
from narrator.engine import Engine, shared_engine
from narrator.pictures import MAX_PIXELS, Source, almost_empty, open_picture, picture_sha256
from narrator.records import Family, Narration, NarratorError, Piece, Variant
from narrator.settings import GenerationSettings
from narrator.turns import Stopped

if TYPE_CHECKING:
    from PIL.Image import Image

UNCERTAIN_BELOW = 0.3  # a word whose least probable token is below this is marked as uncertain
ALMOST_EMPTY = "This picture holds almost nothing to describe."
MAX_PROMPT = 4000  # characters
BATCH = 16  # pictures described at once by `describe_many`
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update:
    """What to show now: the text so far, a status sentence, and the Narration once it is finished."""

    text: str
    status: str
    narration: Narration | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
    """A checked request. `started` is on the clock of time.perf_counter."""

    variant: Variant
    picture: Image | None
    prompt: str
    settings: GenerationSettings
    started: float

    def elapsed(self) -> float:
        """Seconds since the request."""
        return time.perf_counter() - self.started


def narrate(variant_id: str, image: Source | None, prompt: str = "", settings: GenerationSettings | None = None,
            engine: Engine | None = None, stop: threading.Event | None = None) -> Generator[Update, None, None]:
    """Yield Updates as the text comes; the last one carries the Narration.

    Closing the iterator, or setting `stop`, ends the generation within a step and frees the device; after `stop` the
    last Update says "Stopped." and carries no Narration. Times count from the first `next`, loading included.
    Raises NarratorError for an unknown or damaged variant, a missing or unreadable picture and a missing prompt.
    """
    engine = engine or shared_engine()
    variant = find_variant(variant_id, engine.checkpoints)
    request = _check(variant, image, prompt, settings or GenerationSettings())
    if request.picture is not None and almost_empty(request.picture):
        yield _finished(_narration(request, [], ALMOST_EMPTY, (0.0, request.elapsed())))
        return
    yield Update(text="", status=engine.outlook(variant))
    pieces: list[Piece] = []
    try:
        yield from _stream(request, engine, stop, pieces)
    except Stopped:
        yield Update(text=tidy(_joined(pieces)), status="Stopped.")


def describe_many(variant_id: str, images: Iterable[Source | None], prompt: str = "",
                  settings: GenerationSettings | None = None, engine: Engine | None = None,
                  batch_size: int = BATCH) -> Generator[Narration | NarratorError, None, None]:
    """One Narration, or the NarratorError of a picture that fails, for each of `images`, in order.

    In memory are at most `batch_size` pictures, fewer when they are huge; the device is free for others between
    batches. Of a batch, each Narration's times are the batch's. Raises NarratorError when the variant is unknown or
    cannot be loaded.
    """
    engine = engine or shared_engine()
    settings = settings or GenerationSettings()
    variant = find_variant(variant_id, engine.checkpoints)
    requests: list[_Request | NarratorError] = []
    pixels = 0
    for source in images:
        request = _check_or_error(variant, source, prompt, settings)
        requests.append(request)
        if isinstance(request, _Request) and request.picture is not None:
            pixels += request.picture.width * request.picture.height
        if len(requests) >= batch_size or pixels >= MAX_PIXELS:
            yield from _describe_batch(requests, engine)
            requests, pixels = [], 0
    yield from _describe_batch(requests, engine)


def tidy(text: str) -> str:
    """The text as a person would write it: single spaces, a capital first letter, a full stop after a sentence.

    >>> tidy("  a dog runs  on grass ")
    'A dog runs on grass.'
    """
    text = " ".join(text.split())
    text = re.sub(r"([.!?])\1{3,}", r"\1", text)
    text = re.sub(r"\s+([.,;:!?])(?=\s|$)", r"\1", text)
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    if " " in text and (text[-1].isalnum() or text[-1] in ")\"'”’"):
        text += "."
    return text


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word of a text in characters: word n of `uncertain_at` is text[start:end] of the nth.

    >>> word_spans("A man's hat.")
    [(0, 1), (2, 7), (8, 11)]
    """
    return [match.span() for match in _WORD.finditer(text)]


def uncertain_words(pieces: Sequence[Piece], below: float = UNCERTAIN_BELOW) -> tuple[str, ...]:
    """The words of the tidied text that have a piece with a probability under `below`: in order, each occurrence."""
    words = _WORD.findall(tidy(_joined(pieces)))
    return tuple(words[index] for index in uncertain_indices(pieces, below))


def uncertain_indices(pieces: Sequence[Piece], below: float = UNCERTAIN_BELOW) -> tuple[int, ...]:
    """Which words of the tidied text `uncertain_words` are: the first word is 0."""
    spans: list[tuple[int, int, float]] = []  # (start, end, probability) of each piece in the raw text
    at = 0
    for piece in pieces:
        if piece.probability is not None and piece.text:
            spans.append((at, at + len(piece.text), piece.probability))
        at += len(piece.text)
    # Tidying adds and takes no word: the nth of the raw text is the nth of the tidied one.
    return tuple(index for index, (first, last) in enumerate(word_spans(_joined(pieces)))
                 if any(start < last and first < end and probability < below for start, end, probability in spans))


def confidence(pieces: Sequence[Piece]) -> float | None:
    """Mean probability of the tokens that have one, 0..1; None when none has."""
    known = [(piece.probability, piece.tokens) for piece in pieces if piece.probability is not None]
    tokens = sum(count for _, count in known)
    return sum(probability * count for probability, count in known) / tokens if tokens else None


def _check(variant: Variant, image: Source | None, prompt: str, settings: GenerationSettings) -> _Request:
    """Open and check what was given. Raises NarratorError that says what is missing."""
    started = time.perf_counter()
    prompt = (prompt or "").strip() or variant.default_prompt
    if variant.inputs.image and not variant.inputs.text and image is None:  # of a prompt the family knows what it needs
        raise NarratorError(f"{variant.title} describes a picture: give it one first.")
    if variant.inputs.text and not variant.inputs.image and not prompt:
        raise NarratorError(f"{variant.title} goes on from a prompt: write one first.")
    if len(prompt) > MAX_PROMPT:
        raise NarratorError(f"The prompt has {len(prompt):,} characters; shorten it to {MAX_PROMPT:,}.")
    picture = open_picture(image) if variant.inputs.image and image is not None else None
    return _Request(variant=variant, picture=picture, prompt=prompt if variant.inputs.text else "", settings=settings,
                    started=started)


def _check_or_error(variant: Variant, image: Source | None, prompt: str,
                    settings: GenerationSettings) -> _Request | NarratorError:
    try:
        return _check(variant, image, prompt, settings)
    except NarratorError as error:
        return error


def _stream(request: _Request, engine: Engine, stop: threading.Event | None, pieces: list[Piece]) -> Iterator[Update]:
    """Generate under the device lock, collecting `pieces`. Raises Stopped within a step of `stop`."""
    first = last = 0.0
    with engine.use(request.variant.id, stop=stop) as family:
        _refuse_unsupported(family, request)
        yield Update(text="", status="Describing …")
        with contextlib.closing(family.stream(request.picture, request.prompt, request.settings)) as stream:  # type: ignore[type-var]
            for piece in stream:
                if stop is not None and stop.is_set():
                    raise Stopped
                pieces.append(piece)
                if piece.tokens:
                    last = request.elapsed()
                    first = first or last
                if piece.text:
                    yield Update(text=_joined(pieces).lstrip(), status="Describing …")
    # The lock is free again before the last Update is out.
    yield _finished(_narration(request, pieces, tidy(_joined(pieces)), (first, last or request.elapsed())))


def _describe_batch(requests: list[_Request | NarratorError], engine: Engine) -> Iterator[Narration | NarratorError]:
    """Describe the good ones of a batch together, and yield all in order."""
    wanted = [request for request in requests if isinstance(request, _Request)
              and not (request.picture is not None and almost_empty(request.picture))]
    made: dict[int, list[Piece]] = {}
    times: dict[int, float] = {}
    if wanted:
        with engine.use(wanted[0].variant.id) as family:
            _refuse_unsupported(family, wanted[0])
            results = family.batch([request.picture for request in wanted], [request.prompt for request in wanted],
                                   wanted[0].settings)
        times = {id(request): request.elapsed() for request in wanted}
        made = {id(request): pieces for request, pieces in zip(wanted, results, strict=True)}
    for request in requests:
        if isinstance(request, NarratorError):
            yield request
        elif id(request) in made:
            pieces, took = made[id(request)], times[id(request)]
            yield _narration(request, pieces, tidy(_joined(pieces)), (took, took))
        else:
            yield _narration(request, [], ALMOST_EMPTY, (0.0, request.elapsed()))


def _refuse_unsupported(family: Family, request: _Request) -> None:
    """Raise NarratorError for a setting that was changed and that the family would leave out in silence."""
    defaults = GenerationSettings()
    for name in getattr(family, "unsupported", ()):
        if getattr(request.settings, name) != getattr(defaults, name):
            raise NarratorError(f"{request.variant.title} does not know the setting {name}: leave it at "
                                f"{getattr(defaults, name)}, or take another model.")


def _narration(request: _Request, pieces: Sequence[Piece], text: str, times: tuple[float, float]) -> Narration:
    """The finished record of a request. times: seconds to its first and to its last token, taken when it came: what is
    computed here, such as the hash of a large picture, is none of the model's time."""
    return Narration(
        id=uuid.uuid4().hex,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        image_sha256=None if request.picture is None else picture_sha256(request.picture),
        variant_id=request.variant.id,
        prompt=request.prompt,
        settings=dataclasses.asdict(request.settings),
        text=text,
        tokens=sum(piece.tokens for piece in pieces),
        first_token_s=times[0],
        total_s=times[1],
        confidence=confidence(pieces),
        uncertain=uncertain_words(pieces),
        uncertain_at=uncertain_indices(pieces),
    )


def _finished(narration: Narration) -> Update:
    return Update(text=narration.text, status=f"Described in {narration.total_s:.1f} s.", narration=narration)


def _joined(pieces: Iterable[Piece]) -> str:
    return "".join(piece.text for piece in pieces)
