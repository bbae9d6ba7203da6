"""`narrator describe`: photographs -> descriptions, one by one, and spoken if asked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrator.commands.common import add_settings, is_terminal, overwrite, print_json, settings_of, warn
from narrator.records import Narration, NarratorError, Variant
from narrator.settings import GenerationSettings

if TYPE_CHECKING:
    from narrator.engine import Engine

SAYS = "describe photographs, a line each"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", metavar="PHOTO", nargs="*", type=Path,
                        help="JPEG, PNG, WebP, GIF, BMP or TIFF; none where the variant goes on from a prompt alone")
    parser.add_argument("--variant", metavar="ID", help="which variant describes (default: the first of the catalog)")
    parser.add_argument("--prompt", metavar="T", default="", help="what to ask, where the variant takes a prompt")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--speak", metavar="OUT.wav", type=Path, help="speak the descriptions, in order, into one WAV")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from narrator.catalog import default_variant, find_variant

    variant = find_variant(arguments.variant) if arguments.variant else default_variant()
    photos = _asked(variant, arguments)
    if arguments.speak and not arguments.speak.absolute().parent.is_dir():
        raise NarratorError(f"There is no folder {arguments.speak.parent} for the WAV: make it first.")
    describer = _Describer(variant, arguments.prompt, settings, live=not arguments.json and is_terminal(sys.stdout))
    texts: list[str] = []
    for photo in photos:
        result = describer.describe(photo)
        _print(photo, result, arguments)
        if isinstance(result, Narration):
            texts.append(result.text)
    spoken = _speak(texts, arguments.speak) if arguments.speak else True
    return 0 if spoken and len(texts) == len(photos) else 1


def _asked(variant: Variant, arguments: argparse.Namespace) -> list[Path | None]:
    """The photographs, or None where there is only a prompt. Raises NarratorError for what the variant cannot take."""
    if arguments.photos and not variant.inputs.image:
        raise NarratorError(f"{variant.title} does not look at pictures: leave the photograph out and give --prompt, "
                            "or choose another with --variant.")
    if not arguments.photos and not variant.inputs.text:
        raise NarratorError(f"{variant.title} describes photographs: name one.")
    return list(arguments.photos) or [None]


class _Describer:
    """Describes one photograph after the other; `live` shows the text on the terminal as it comes."""

    def __init__(self, variant: Variant, prompt: str, settings: GenerationSettings, live: bool) -> None:
        self.variant, self.prompt, self.settings, self.live = variant, prompt, settings, live
        self.engine: Engine | None = None

    def describe(self, photo: Path | None) -> Narration | NarratorError:
        """The Narration, or what is wrong with this photograph. Raises NarratorError when the variant cannot run."""
        from narrator.narrate import narrate
        from narrator.pictures import open_picture

        try:
            picture = None if photo is None else open_picture(photo)
        except NarratorError as error:
            return error
        engine = self._loaded()
        finished: Narration | None = None
        try:
            for update in narrate(self.variant.id, picture, self.prompt, self.settings, engine):
                if self.live:
                    overwrite(sys.stdout, update.text or update.status)
                finished = update.narration
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


def _print(photo: Path | None, result: Narration | NarratorError, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(_as_json(photo, result))
    elif isinstance(result, NarratorError):
        warn(result if photo is None or str(photo) in str(result) else f"{photo}: {result}")
    else:
        name = f"{photo}: " if len(arguments.photos) > 1 else ""
        print(f"{name}{' '.join(result.text.split())}", flush=True)


def _as_json(photo: Path | None, result: Narration | NarratorError) -> dict[str, Any]:
    image = None if photo is None else str(photo)
    if isinstance(result, NarratorError):
        return {"image": image, "error": str(result)}
    return {"image": image, "variant": result.variant_id, "text": result.text, "tokens": result.tokens,
            "first_token_s": round(result.first_token_s, 4), "total_s": round(result.total_s, 4),
            "confidence": None if result.confidence is None else round(result.confidence, 4),
            "uncertain": list(result.uncertain)}


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
