"""The few named endpoints, for gradio_client, plain HTTP and assistants. Everything else of the page is private."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

from narrator.catalog import default_variant
from narrator.knobs import build
from narrator.narrate import narrate
from narrator.pictures import picture_url
from narrator.records import Narration, NarratorError
from narrator.settings import GenerationSettings
from narrator.speech import engine as speech_engine
from narrator.uploads import new_sound, uploaded_path
from narrator.wording import ranked_json


def describe(picture: dict | list | None = None, variant: str = "", prompt: str = "",
             settings: dict | None = None) -> dict[str, Any]:
    """Describe a picture in words.

    Args:
        picture: an uploaded file, `handle_file(path)` with gradio_client; a list of them for a variant that takes
            several; null for one that takes only text.
        variant: the id of a model variant; empty for the first of the catalog.
        prompt: a question or the beginning of a text, for variants that take one.
        settings: generation settings by name, such as {"num_beams": 1, "seed": 7}; the others keep their defaults.

    Returns:
        {"variant", "text", "tokens", "first_token_s", "total_s", "confidence", "uncertain"}: times in seconds,
        confidence the mean token probability (0 to 1) or null, uncertain the words that are guesses. From a variant
        that tells classes also {"label", "probability", "ranked"}, and from one that draws {"picture"}, a data URL.
    """
    try:
        chosen = build(GenerationSettings, _mapping(settings), "settings")
        updates = narrate(_text(variant, "variant") or default_variant().id, _pictures(picture),
                          _text(prompt, "prompt"), chosen)
        last = next((update for update in updates if update.narration is not None), None)
    except NarratorError as error:
        _refuse(error)
    if last is None or last.narration is None:
        _refuse(NarratorError("The description ended before it was finished. Try again."))
    return _told(last.narration) | ({} if last.picture is None else {"picture": picture_url(last.picture)})


def _told(narration: Narration) -> dict[str, Any]:
    told = {"variant": narration.variant_id, "text": narration.text, "tokens": narration.tokens,
            "first_token_s": narration.first_token_s, "total_s": narration.total_s,
            "confidence": narration.confidence, "uncertain": list(narration.uncertain)}
    return told | ranked_json(narration) if narration.ranked else told


def speak(text: str, voice: str | None = None, speed: float = 1.0, pitch: int = 50) -> dict[str, Any]:
    """Read a text aloud into a WAV file.

    Args:
        text: what to say.
        voice: the id of a voice; null for the usual one.
        speed: 1.0 is 165 words a minute.
        pitch: 0 to 100.

    Returns:
        {"audio", "rate_hz", "seconds", "marks"}: audio is a mono 16-bit WAV (gradio_client downloads it; over HTTP get
        its `url`); marks are [{"text", "start_s", "end_s"}], one for each sentence.
    """
    try:
        with new_sound() as path:
            made = speech_engine().synthesize(_text(text, "text"), path, voice=_text(voice, "voice") or None,
                                              speed=_number(speed, "speed"), pitch=round(_number(pitch, "pitch")))
    except NarratorError as error:
        _refuse(error)
    audio = {"path": str(made.path), "url": f"/gradio_api/file={made.path}", "orig_name": made.path.name,
             "mime_type": "audio/wav", "meta": {"_type": "gradio.FileData"}}
    return {"audio": audio, "rate_hz": made.rate_hz, "seconds": made.seconds,
            "marks": [dataclasses.asdict(mark) for mark in made.marks]}


def add_endpoints() -> None:
    """Put the endpoints into the `gr.Blocks` that is open."""
    import gradio as gr

    for endpoint in (describe, speak):
        gr.api(endpoint, api_name=endpoint.__name__, concurrency_limit=4)


def _pictures(picture: Any) -> list[Path]:
    """The uploaded files."""
    paths = [uploaded_path(one) for one in (picture if isinstance(picture, list) else [picture])]
    return [path for path in paths if path is not None]


def _mapping(settings: Any) -> dict[str, Any]:
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise NarratorError('settings must be an object such as {"num_beams": 1}.')
    return settings


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NarratorError(f"{name} must be text, not {value!r:.80}.")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NarratorError(f"{name} must be a number, not {value!r:.80}.")
    return float(value)


def _refuse(error: NarratorError) -> NoReturn:
    import gradio as gr

    raise gr.Error(str(error), print_exception=False) from error
