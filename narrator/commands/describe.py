"""`narrator describe`: photographs -> descriptions, one by one, and spoken if asked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.commands.common import add_settings, is_terminal, overwrite, print_json, settings_of, warn
from narrator.families.modes import find_mode, modes_of
from narrator.files import write_whole
from narrator.records import Narration, NarratorError, Variant
from narrator.settings import GenerationSettings
from narrator.wording import ranked_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from narrator.engine import Engine

SAYS = "describe photographs, a line each"
Photos = tuple[Path, ...]  # of one request


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", metavar="PHOTO", nargs="*", type=Path,
                        help="JPEG, PNG, WebP, GIF, BMP or TIFF; none where the variant goes on from a prompt alone")
    parser.add_argument("--variant", metavar="ID", help="which variant describes (default: the first of the catalog)")
    parser.add_argument("--prompt", metavar="T", default="", help="what to ask, where the variant takes a prompt")
    parser.add_argument("--mode", metavar="M", help="what to do, where the variant has modes instead of prompts; an "
                                                    "unknown one is answered with the list")
    parser.add_argument("--together", action="store_true", help="one answer about all photographs in one prompt")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--speak", metavar="OUT.wav", type=Path, help="speak the descriptions, in order, into one WAV")
    parser.add_argument("--out-image", metavar="FILE", type=Path, help="save the picture that the variant draws")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from narrator.catalog import default_variant, find_variant

    variant = find_variant(arguments.variant) if arguments.variant else default_variant()
    prompt = prompt_of(variant, arguments)
    requests = _asked(variant, arguments)
    _check_places(arguments, len(requests))
    describer = _Describer(variant, prompt, settings, live=not arguments.json and is_terminal(sys.stdout))
    texts: list[str] = []
    for photos in requests:
        result = describer.describe(photos)
        _print(photos, result, arguments, several=len(requests) > 1)
        if isinstance(result, Narration):
            texts.append(result.text)
    drawn = _save(describer.drawn, arguments.out_image) if arguments.out_image else True
    spoken = _speak(texts, arguments.speak) if arguments.speak else True
    return 0 if drawn and spoken and len(texts) == len(requests) else 1


def prompt_of(variant: Variant, arguments: argparse.Namespace) -> str:
    """What is asked. Raises NarratorError for a mode that the variant does not have."""
    if not arguments.mode:
        return str(arguments.prompt)
    mode = find_mode(variant, arguments.mode)
    if mode is None:
        listed = "; ".join(f"{mode.id} ({mode.title})" for mode in modes_of(variant))
        raise NarratorError(f"{variant.title} has no mode '{arguments.mode}'. It has: {listed}." if listed else
                            f"{variant.title} has no modes: leave --mode out.")
    if arguments.prompt:
        raise NarratorError("--mode says what to ask: leave --prompt out.")
    return mode.prompt


def _asked(variant: Variant, arguments: argparse.Namespace) -> list[Photos]:
    """The photographs of each request, none where there is only a prompt. Raises NarratorError for what the variant
    cannot take."""
    photos: list[Path] = arguments.photos
    if photos and not variant.inputs.image:
        raise NarratorError(f"{variant.title} does not look at pictures: leave the photograph out and give --prompt, "
                            "or choose another with --variant.")
    if not photos and not variant.inputs.text:
        raise NarratorError(f"{variant.title} describes photographs: name one.")
    if arguments.together and len(photos) > 1 and not variant.several:
        raise NarratorError(f"{variant.title} takes one picture at a time: leave --together out, or choose another "
                            "with --variant.")
    return [tuple(photos)] if arguments.together or not photos else [(photo,) for photo in photos]


def _check_places(arguments: argparse.Namespace, requests: int) -> None:
    """Raise NarratorError for a file that could not be written in the end: nobody should wait for that."""
    from narrator.pictures import picture_kind

    for path, what in ((arguments.speak, "WAV"), (arguments.out_image, "picture")):
        if path is None:
            continue
        if path.is_dir():
            raise NarratorError(f"{path} is a folder: name the file for the {what}.")
        if not path.absolute().parent.is_dir():
            raise NarratorError(f"There is no folder {path.parent} for the {what}: make it first.")
    if arguments.out_image is not None:
        picture_kind(arguments.out_image.name)
        if requests > 1:
            raise NarratorError("--out-image saves one picture: name one photograph.")


class _Describer:
    """Describes one request after the other; `live` shows the text on the terminal as it comes. drawn: the picture of
    the last one."""

    def __init__(self, variant: Variant, prompt: str, settings: GenerationSettings, live: bool) -> None:
        self.variant, self.prompt, self.settings, self.live = variant, prompt, settings, live
        self.engine: Engine | None = None
        self.drawn: Image | None = None

    def describe(self, photos: Photos) -> Narration | NarratorError:
        """The Narration, or what is wrong with these photographs. Raises NarratorError when the variant cannot run."""
        from narrator.narrate import narrate
        from narrator.pictures import open_picture

        self.drawn = None
        try:
            pictures = [open_picture(photo) for photo in photos]
        except NarratorError as error:
            return error
        engine = self._loaded()
        finished: Narration | None = None
        try:
            for update in narrate(self.variant.id, pictures, self.prompt, self.settings, engine):
                if self.live:
                    overwrite(sys.stdout, update.text or update.status)
                finished, self.drawn = update.narration, update.picture
        except NarratorError as error:
            return error
        finally:
            if self.live:
                overwrite(sys.stdout, "")
        if finished is None:
            return NarratorError("The description did not finish: try again.")
        return finished

    def _loaded(self) -> Engine:
        """The engine with the variant in memory: loaded for the first good photograph, outside its times."""
        if self.engine is None:
            from narrator.engine import shared_engine

            engine = shared_engine()
            with engine.use(self.variant.id, announce=self._announce):
                self.engine = engine
        return self.engine

    def _announce(self, status: str) -> None:
        if is_terminal(sys.stderr):
            print(status, file=sys.stderr, flush=True)


def _print(photos: Photos, result: Narration | NarratorError, arguments: argparse.Namespace, *, several: bool) -> None:
    names = ", ".join(map(str, photos))
    if arguments.json:
        print_json(_as_json(photos, result, together=arguments.together))
    elif isinstance(result, NarratorError):
        warn(result if not photos or names in str(result) else f"{names}: {result}")
    else:
        name = f"{names}: " if several else ""
        print(f"{name}{' '.join(result.text.split())}", flush=True)


def _as_json(photos: Photos, result: Narration | NarratorError, *, together: bool) -> dict[str, Any]:
    image: dict[str, Any] = {"image": str(photos[0]) if photos else None}
    if together:
        image = {"images": list(map(str, photos))}
    if isinstance(result, NarratorError):
        return {**image, "error": str(result)}
    told = {**image, "variant": result.variant_id, "text": result.text, "tokens": result.tokens,
            "first_token_s": round(result.first_token_s, 4), "total_s": round(result.total_s, 4),
            "confidence": None if result.confidence is None else round(result.confidence, 4),
            "uncertain": list(result.uncertain)}
    return told | ranked_json(result) if result.ranked else told


def _save(picture: Image | None, path: Path) -> bool:
    """Save the picture that was drawn; whether it is there."""
    if picture is None:
        warn(f"{path} is not written: nothing was drawn.")
        return False
    from narrator.pictures import picture_bytes, picture_kind

    try:
        write_whole(path, picture_bytes(picture, picture_kind(path.name)))
    except OSError as error:
        warn(f"{path} is not written ({error.strerror}): choose another place, or make room.")
        return False
    return True


def _speak(texts: list[str], path: Path) -> bool:
    """Speak the texts into one WAV; whether it is there."""
    if not any(texts):
        warn(f"{path} is not written: there is no description to speak.")
        return False
    from narrator.speech import engine as speech_engine

    try:
        speech_engine().synthesize("\n".join(texts), path)
    except NarratorError as error:
        warn(f"{path} is not written: {error}")
        return False
    return True
