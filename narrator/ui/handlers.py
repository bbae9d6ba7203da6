"""What happens when a button is pressed: plain functions on plain values, which tests call without a page."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from narrator.catalog import load_variants
from narrator.families.modes import modes_of
from narrator.knobs import build, knobs
from narrator.narrate import Update, narrate
from narrator.pictures import open_picture
from narrator.records import Narration, NarratorError, Speech, Variant, Voice
from narrator.settings import GenerationSettings
from narrator.speech import engine as speech_engine
from narrator.ui.accessibility import drawn, how_sure, status
from narrator.ui.work import newest
from narrator.uploads import new_sound

READY = status("Choose a picture, then press Describe.")
SHOWN_BY_BROWSERS = {"JPEG", "PNG", "WEBP", "GIF", "BMP"}

DESCRIBING, DESCRIBED, SPEAKING = "describing", "described", "speaking"
STOPPED = {DESCRIBING: status("Stopped. What was written so far is kept.", "stopped"),
           SPEAKING: status("Stopped. Nothing is spoken.", "stopped")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A description as a variant wrote it, of one picture: what a correction starts from."""

    path: str
    variant: str
    prompt: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What the page shows next; None leaves a part as it is."""

    status: str | None = None
    text: str | None = None
    sure: str | None = None
    drawn: str | None = None
    made: Made | None = None
    path: Path | None = None  # of a sound
    narration: Narration | None = None  # once it is finished
    paths: tuple[Path, ...] = ()  # of the pictures that it is about
    doing: str = ""  # DESCRIBING or SPEAKING while there is something to stop, DESCRIBED once a Narration is finished


def settings_from(values: Sequence[Any]) -> GenerationSettings:
    """Settings from the form's values, in the form's order. An empty field or one out of range raises NarratorError."""
    return build(GenerationSettings, dict(zip(knobs(GenerationSettings), values, strict=True)), "Settings")


async def describe(path: str | None, variant_id: str, prompt: str, values: Sequence[Any],
                   more: Sequence[str] = ()) -> AsyncIterator[View]:
    """Views of a description as it grows. Errors become a status line; what was written before them stays.

    The words of before, which may be a person's own, stay until the first ones of the new description are there.
    more: further pictures for the same prompt.
    """
    shown, written = "", ""
    variant = load_variants().get(variant_id or "")
    given = (path, *more) if variant is not None and variant.several else (path,)  # what is out of sight is left out
    paths = [Path(one) for one in given if one is not None]
    about = subject(paths, variant, prompt or "")
    try:
        settings = settings_from(values)

        def start(stop: threading.Event) -> Iterator[Update]:
            return narrate(variant_id or "", paths, prompt or "", settings, stop=stop)

        async for update in newest(start):
            if update.narration is not None:
                yield _finished(update, about, paths)
                return
            line = update.status if update.status and update.status != shown else None
            text = update.text if update.text != written else None
            sure = "" if text is not None and not written else None  # the figures of the words that go now
            shown, written = line or shown, update.text
            picture = drawn(update.picture, "Being drawn …") if update.picture is not None else None
            if line or text is not None or picture is not None:
                yield View(status=status(line, "busy") if line else None, text=text, sure=sure, doing=DESCRIBING,
                           drawn="" if picture is None and sure == "" else picture,
                           made=_with(about, update.text))
    except NarratorError as error:
        yield View(status=status(str(error), "error"))
    except Exception as error:  # the page must not say "Describing…" for ever; the error itself goes on
        yield View(status=unexpected(error))
        raise


def subject(paths: Sequence[Path], variant: Variant | None, prompt: str) -> Made | None:
    """What can be corrected, once it has a text: the description of one picture by a variant that writes freely."""
    if variant is None or len(paths) != 1 or not variant.inputs.image or modes_of(variant):
        return None
    asked = (prompt.strip() or variant.default_prompt) if variant.inputs.text else ""
    return Made(path=str(paths[0]), variant=variant.id, prompt=asked, text="")


def _with(about: Made | None, text: str) -> Made | None:
    return dataclasses.replace(about, text=text) if about is not None and text else None


def _finished(update: Update, about: Made | None, paths: Sequence[Path]) -> View:
    narration = update.narration
    assert narration is not None
    line = f"Described in {narration.total_s:.1f} s."
    return View(status=status(line, "done", spoken=narration.text), text=narration.text, sure=how_sure(narration),
                doing=DESCRIBED, drawn=drawn(update.picture, narration.text),
                made=_with(about, narration.text), narration=narration,
                paths=tuple(paths) if narration.image_sha256 else ())


def stopped(doing: str) -> str:
    """The status line after Stop, given what was being done (see View)."""
    return STOPPED.get(doing) or status("There is nothing to stop.")


def unexpected(error: Exception) -> str:
    """A status line for what nobody foresaw. Raise the error afterwards: Gradio then writes it to the terminal."""
    return status(f"Something unexpected went wrong ({type(error).__name__}). Try again; the terminal that runs this "
                  "app shows the details.", "error")


def first_words() -> str:
    """The status line of a page that has just been opened."""
    if not load_variants():
        return status("There is no model variant yet: train one, or set NARRATOR_CHECKPOINTS to a folder of "
                      "checkpoints, then load this page again.", "error")
    return READY


def check_picture(path: str | None) -> tuple[Any, str]:
    """(picture, status) right after a picture is given: a file that is no picture is taken away with the reason."""
    import gradio as gr
    from PIL import Image

    if path is None:
        return gr.skip(), READY
    try:
        picture = open_picture(Path(path))
    except NarratorError as error:
        return None, status(str(error), "error")
    with Image.open(path) as raw:
        shown = raw.format in SHOWN_BY_BROWSERS
    ready = status("The picture is ready. Press Describe.")
    return (gr.skip() if shown else picture), ready


def known_voices() -> tuple[list[Voice], str]:
    """(voices, "") or, where no speech engine can run, ([], a notice that says so)."""
    try:
        voices = speech_engine().voices()
    except NarratorError as error:
        return [], status(f"This machine cannot speak yet. {error} Descriptions work all the same.", "error")
    return voices, "" if voices else status("This machine has no voice. Descriptions work all the same.", "error")


def first_voice(voices: Sequence[Voice]) -> str | None:
    """British or American English where there is one, else any English, else the first."""
    ranks = {"en-gb": 0, "en-us": 1, "en": 2}
    best = min(voices, default=None,
               key=lambda voice: min([ranks.get(tag.lower(), 3 if tag.lower().startswith("en") else 9)
                                      for tag in voice.languages] or [9]))
    return best.id if best else None


async def speak(text: str, voice: str | None, speed: float, pitch: int) -> AsyncIterator[View]:
    """Views of a sound being made: a status line at once, then the file, or the reason why there is none."""
    yield View(status=status("Making the sound…", "busy"), doing=SPEAKING)
    stop = threading.Event()
    try:
        if speed is None or pitch is None:
            raise NarratorError("Speed and pitch need a number each. Fill them in; 1 and 50 are usual.")
        made = await asyncio.to_thread(_sound, text or "", voice, float(speed), int(pitch), stop)
    except NarratorError as error:
        yield View(status=status(str(error), "error"))
    except Exception as error:
        yield View(status=unexpected(error))
        raise
    else:
        yield View(status=status(f"Speaking, {made.seconds:.1f} s long.", "done"), path=made.path)
    finally:
        stop.set()  # whoever pressed Stop or left the page waits for no sound


def _sound(text: str, voice: str | None, speed: float, pitch: int, stop: threading.Event) -> Speech:
    with new_sound() as path:
        return speech_engine().synthesize(text, path, voice=voice, speed=speed, pitch=pitch, stop=stop)
