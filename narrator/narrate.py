"""A request: variant + picture + prompt -> a stream of text -> a finished Narration."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import itertools
import threading
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from narrator.catalog import find_variant
from narrator.engine import Engine, shared_engine
from narrator.families.modes import find_mode
from narrator.pictures import MAX_PIXELS, Source, almost_empty, open_picture, picture_sha256
from narrator.records import Family, Narration, NarratorError, Piece, Variant
from narrator.settings import GenerationSettings
from narrator.turns import Stopped
from narrator.wording import confidence, joined, tidy, uncertain_indices, uncertain_words
from narrator.wording import word_spans as word_spans  # where the words of `uncertain_at` stand

if TYPE_CHECKING:
    from PIL.Image import Image

ALMOST_EMPTY = "This picture holds almost nothing to describe."
MAX_PROMPT = 4000  # characters
MAX_PICTURES = 8  # in one prompt
BATCH = 16  # pictures described at once by `describe_many`
Given = Source | Sequence[Source] | None  # a picture, several for one prompt, or none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update:
    """What to show now: the text so far, a status sentence, the picture as far as it is drawn (by a variant that
    draws), and the Narration once it is finished."""

    text: str
    status: str
    narration: Narration | None = None
    picture: Image | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request (see `check_request`). `started` is on the clock of time.perf_counter."""

    variant: Variant
    pictures: tuple[Image, ...]
    prompt: str
    settings: GenerationSettings
    started: float

    @property
    def picture(self) -> Image | None:
        """The only one, or the first."""
        return self.pictures[0] if self.pictures else None

    @functools.cached_property
    def empty(self) -> bool:
        """Whether pictures were given and none of them shows anything."""
        return bool(self.pictures) and all(map(almost_empty, self.pictures))

    @functools.cached_property
    def sha256(self) -> str | None:
        """The picture's hash; of several, the SHA-256 of their hashes in order."""
        hashes = [picture_sha256(picture) for picture in self.pictures]
        return hashlib.sha256("".join(hashes).encode()).hexdigest() if len(hashes) > 1 else next(iter(hashes), None)

    def elapsed(self) -> float:
        """Seconds since the request."""
        return time.perf_counter() - self.started


def narrate(variant_id: str, image: Given, prompt: str = "", settings: GenerationSettings | None = None,
            engine: Engine | None = None, stop: threading.Event | None = None) -> Generator[Update, None, None]:
    """Yield Updates as the text comes; the last one carries the Narration. A list of pictures makes one description.

    Closing the iterator, or setting `stop`, ends the generation within a step and frees the device; after `stop` the
    last Update says "Stopped." and carries no Narration. Times count from the first `next`, loading included.
    Raises NarratorError for an unknown or damaged variant, a missing or unreadable picture and a missing prompt.
    """
    engine = engine or shared_engine()
    variant = find_variant(variant_id, engine.checkpoints)
    request = check_request(variant, image, prompt, settings or GenerationSettings())
    if request.empty:
        yield _finished(_narration(request, [], ALMOST_EMPTY, (0.0, request.elapsed())))
        return
    yield Update(text="", status=engine.outlook(variant))
    pieces: list[Piece] = []
    try:
        yield from _stream(request, engine, stop, pieces)
    except Stopped:
        yield Update(text=tidy(joined(pieces)), status="Stopped.", picture=_drawn(pieces))


def describe_many(variant_id: str, images: Iterable[Source | None], prompt: str | Iterable[str] = "",
                  settings: GenerationSettings | None = None, engine: Engine | None = None,
                  batch_size: int = BATCH) -> Generator[Narration | NarratorError, None, None]:
    """One Narration, or the NarratorError of a picture that fails, for each of `images`, in order.

    prompt: the same for all, or one for each. In memory are at most `batch_size` pictures, fewer when they are huge;
    the device is free for others between batches. Of a batch, each Narration's times are the batch's. Raises
    NarratorError when the variant is unknown or cannot be loaded.
    """
    engine = engine or shared_engine()
    settings = settings or GenerationSettings()
    variant = find_variant(variant_id, engine.checkpoints)
    requests: list[Request | NarratorError] = []
    pixels = 0
    prompts = itertools.repeat(prompt) if isinstance(prompt, str) else prompt
    for source, asked in zip(images, prompts, strict=False):
        request = _check_or_error(variant, source, asked, settings)
        requests.append(request)
        if isinstance(request, Request) and request.picture is not None:
            pixels += request.picture.width * request.picture.height
        if len(requests) >= batch_size or pixels >= MAX_PIXELS:
            yield from describe_batch(requests, engine)
            requests, pixels = [], 0
    yield from describe_batch(requests, engine)


def check_request(variant: Variant, image: Given, prompt: str, settings: GenerationSettings) -> Request:
    """Open and check what was given, for `describe_batch`. Raises NarratorError that says what is missing."""
    started = time.perf_counter()
    prompt = (prompt or "").strip() or variant.default_prompt
    mode = find_mode(variant, prompt)
    prompt = mode.prompt if mode is not None else prompt
    sources = _sources(variant, image) if mode is None or mode.image else []
    if variant.inputs.image and not variant.inputs.text and not sources:  # of a prompt the family knows what it needs
        raise NarratorError(f"{variant.title} describes a picture: give it one first.")
    if variant.inputs.text and not variant.inputs.image and not prompt:
        raise NarratorError(f"{variant.title} goes on from a prompt: write one first.")
    if len(prompt) > MAX_PROMPT:
        raise NarratorError(f"The prompt has {len(prompt):,} characters; shorten it to {MAX_PROMPT:,}.")
    return Request(variant=variant, pictures=_opened(sources), prompt=prompt if variant.inputs.text else "",
                    settings=settings, started=started)


def _sources(variant: Variant, image: Given) -> list[Source]:
    """The pictures that this variant will look at. Raises NarratorError for more than it takes."""
    if image is None or not variant.inputs.image:
        return []
    sources = list(image) if isinstance(image, (list, tuple)) else [cast(Source, image)]
    if len(sources) > 1 and not variant.several:
        raise NarratorError(f"{variant.title} takes one picture at a time, not {len(sources)}: give it one.")
    if len(sources) > MAX_PICTURES:
        raise NarratorError(f"These are {len(sources)} pictures; one prompt takes {MAX_PICTURES} at most.")
    return sources


def _opened(sources: Sequence[Source]) -> tuple[Image, ...]:
    """The pictures, together no larger than the largest that is allowed."""
    pictures: list[Image] = []
    for source in sources:
        pictures.append(open_picture(source))
        if sum(picture.width * picture.height for picture in pictures) > MAX_PIXELS:
            raise NarratorError(f"These pictures have more than {MAX_PIXELS // 10**6} million pixels together; make "
                                "them smaller first.")
    return tuple(pictures)


def _check_or_error(variant: Variant, image: Source | None, prompt: str,
                    settings: GenerationSettings) -> Request | NarratorError:
    try:
        return check_request(variant, image, prompt, settings)
    except NarratorError as error:
        return error


def _stream(request: Request, engine: Engine, stop: threading.Event | None, pieces: list[Piece]) -> Iterator[Update]:
    """Generate under the device lock, collecting `pieces`. Raises Stopped within a step of `stop`."""
    first = last = 0.0
    with engine.use(request.variant.id, stop=stop) as family:
        refuse_unsupported(family, request.variant, request.settings)
        yield Update(text="", status="Describing …")
        with contextlib.closing(_generation(family, request)) as stream:  # type: ignore[type-var]
            for piece in stream:
                if stop is not None and stop.is_set():
                    raise Stopped
                pieces.append(piece)
                if piece.tokens:
                    last = request.elapsed()
                    first = first or last
                if piece.text or piece.picture is not None:
                    yield Update(text=joined(pieces).lstrip(), status="Describing …", picture=piece.picture)
    # The lock is free again before the last Update is out.
    done = _narration(request, pieces, tidy(joined(pieces)), (first, last or request.elapsed()))
    yield _finished(done, _drawn(pieces))


def _generation(family: Family, request: Request) -> Iterator[Piece]:
    """The pieces of a request, several pictures in one prompt."""
    if len(request.pictures) < 2:
        return family.stream(request.picture, request.prompt, request.settings)
    several = getattr(family, "stream_many", None)
    if several is None:
        raise NarratorError(f"{request.variant.title} takes one picture at a time: take 'several' out of its "
                            "entry, or give it one.")
    pieces: Iterator[Piece] = several(request.pictures, request.prompt, request.settings)
    return pieces


def describe_batch(requests: list[Request | NarratorError], engine: Engine) -> Iterator[Narration | NarratorError]:
    """Describe the good ones of a batch (one variant, one set of settings) together, and yield all in order."""
    wanted = [request for request in requests if isinstance(request, Request) and not request.empty]
    made: dict[int, list[Piece]] = {}
    times: dict[int, float] = {}
    if wanted:
        with engine.use(wanted[0].variant.id) as family:
            refuse_unsupported(family, wanted[0].variant, wanted[0].settings)
            results = family.batch([request.picture for request in wanted], [request.prompt for request in wanted],
                                   wanted[0].settings)
        times = {id(request): request.elapsed() for request in wanted}
        made = {id(request): pieces for request, pieces in zip(wanted, results, strict=True)}
    for request in requests:
        if isinstance(request, NarratorError):
            yield request
        elif id(request) in made:
            pieces, took = made[id(request)], times[id(request)]
            yield _narration(request, pieces, tidy(joined(pieces)), (took, took))
        else:
            yield _narration(request, [], ALMOST_EMPTY, (0.0, request.elapsed()))


def refuse_unsupported(family: Family, variant: Variant, settings: GenerationSettings) -> None:
    """Raise NarratorError for a setting that was changed and that the family would leave out in silence."""
    defaults = GenerationSettings()
    for name in getattr(family, "unsupported", ()):
        if getattr(settings, name) != getattr(defaults, name):
            raise NarratorError(f"{variant.title} does not know the setting {name}: leave it at "
                                f"{getattr(defaults, name)}, or take another model.")


def _narration(request: Request, pieces: Sequence[Piece], text: str, times: tuple[float, float]) -> Narration:
    """The finished record of a request. times: seconds to its first and to its last token, taken when it came: what is
    computed here, such as the hash of a large picture, is none of the model's time."""
    told = next((piece for piece in reversed(pieces) if piece.ranked), None)
    return Narration(
        id=uuid.uuid4().hex,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        image_sha256=request.sha256,
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
        label=told.label if told else None,
        probability=told.ranked[0][1] if told and told.label else None,
        ranked=told.ranked if told else (),
    )


def _finished(narration: Narration, picture: Image | None = None) -> Update:
    return Update(text=narration.text, status=f"Described in {narration.total_s:.1f} s.", narration=narration,
                  picture=picture)


def _drawn(pieces: Sequence[Piece]) -> Image | None:
    """The newest picture."""
    return next((piece.picture for piece in reversed(pieces) if piece.picture is not None), None)
