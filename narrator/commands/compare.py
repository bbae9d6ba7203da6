"""`narrator compare`: 2 to 4 variants about the same picture or prompt, side by side."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from narrator.commands.common import add_settings, is_terminal, overwrite, print_json, settings_of, warn
from narrator.files import write_whole
from narrator.knobs import build
from narrator.records import NarratorError
from narrator.settings import GenerationSettings

if TYPE_CHECKING:
    from narrator.comparing import Comparison, Entrant
    from narrator.pictures import Source

SAYS = "compare 2 to 4 variants on one photograph or prompt"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", nargs="?", type=Path,
                        help="JPEG, PNG, WebP, GIF, BMP or TIFF; none where the variants go on from a prompt alone")
    parser.add_argument("--variant", metavar="ID[:NAME=X,...]", action="append", default=[],
                        help="a variant, 2 to 4 times; settings of its own behind a colon, as in "
                             "photo-captioner:temperature=0.8,seed=3")
    parser.add_argument("--prompt", metavar="T", default="", help="what to ask those that take a prompt")
    parser.add_argument("--reference", metavar="T", action="append", default=[],
                        help="what a person wrote about it, once or more: the texts are scored against it")
    parser.add_argument("--again", metavar="COMPARISON.json", type=Path,
                        help="a saved comparison: the same variants, prompt, settings and seeds once more")
    parser.add_argument("--out", metavar="FILE", type=Path, help="save it: .html to read, .json to open again")
    parser.add_argument("--with-picture", action="store_true", help="put the picture into that file, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    from narrator.comparing import compare
    from narrator.comparing.sharing import as_json, with_picture

    _check_out(arguments)
    before = _saved(arguments)
    entrants = _entrants(arguments, before)
    photo = _photo(arguments, before)
    prompt = before.prompt if before and not arguments.prompt else arguments.prompt
    references = before.references if before and not arguments.reference else arguments.reference
    live, made = is_terminal(sys.stderr), None
    for progress in compare(entrants, photo, prompt, references=references):
        made = progress.comparison
        if live and progress.at is not None:
            overwrite(sys.stderr, f"{progress.at + 1} of {len(entrants)}, {made.results[progress.at].title}: "
                                  f"{progress.status}")
    if live:
        overwrite(sys.stderr, "")
    assert made is not None  # there is always a last one
    if arguments.json:
        print_json(as_json(made))
    else:
        _print(made)
    if arguments.out:
        _save(with_picture(made, photo if arguments.with_picture else None), arguments.out)
    return 0 if all(one.state == "done" for one in made.results) else 1


def _check_out(arguments: argparse.Namespace) -> None:
    """Raise NarratorError for a file that could not be written in the end: nobody should wait for that."""
    out: Path | None = arguments.out
    if out is None:
        if arguments.with_picture:
            raise NarratorError("--with-picture puts the picture into a file: name that with --out.")
        return
    if out.suffix.lower() not in (".html", ".json"):
        raise NarratorError(f"{out} must end in .html or .json.")
    if not out.absolute().parent.is_dir():
        raise NarratorError(f"There is no folder {out.parent}: make it first.")


def _saved(arguments: argparse.Namespace) -> Comparison | None:
    if arguments.again is None:
        return None
    if arguments.variant:
        raise NarratorError("--again takes the variants of the file: leave --variant out.")
    from narrator.comparing.sharing import from_text

    try:
        return from_text(arguments.again.read_bytes(), str(arguments.again))
    except OSError as error:
        raise NarratorError(f"{arguments.again} cannot be read ({error.strerror}): check its name.") from None


def _entrants(arguments: argparse.Namespace, before: Comparison | None) -> list[Entrant]:
    from narrator.comparing import Entrant, again

    settings = settings_of(arguments)
    if before is None:
        return [Entrant(variant=name, settings=_own(more, settings)) for name, _, more in
                (given.partition(":") for given in arguments.variant)]
    if settings != GenerationSettings():
        raise NarratorError("--again takes the settings of the file: leave the others out.")
    return again(before)


def _own(given: str, settings: GenerationSettings) -> GenerationSettings:
    """ "temperature=0.8,seed=3" on top of what all have."""
    pairs = [part.partition("=") for part in given.split(",") if part.strip()]
    values = {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
    own: GenerationSettings = build(GenerationSettings, dataclasses.asdict(settings) | values, "--variant")
    return own


def _photo(arguments: argparse.Namespace, before: Comparison | None) -> Source | None:
    """The photograph that is named, else the one in the saved comparison."""
    if arguments.photo is not None or before is None:
        photo: Path | None = arguments.photo
        return photo
    if before.picture is None:
        if before.image_sha256 is not None:
            raise NarratorError(f"{arguments.again} was saved without its picture: name the photograph, too.")
        return None
    from narrator.comparing.sharing import exact

    if not exact(before):
        warn("The picture in the file was made smaller when it was saved, so the texts may differ.")
    return before.picture


def _print(made: Comparison) -> None:
    from narrator.comparing import figures

    for number, one in enumerate(made.results, start=1):
        if one.error:
            warn(f"{one.title}: {one.error}")
        print(f"{number}: {one.title}\n   {' '.join(one.text.split()) or '–'}")
    for name, values in figures(made.results):
        print(f"{name:22}  " + "  ".join(f"{value:24}" for value in values).rstrip())


def _save(made: Comparison, out: Path) -> None:
    from narrator.comparing.page import as_html
    from narrator.comparing.sharing import as_text

    try:
        write_whole(out, as_html(made) if out.suffix.lower() == ".html" else as_text(made))
    except OSError as error:
        raise NarratorError(f"{out} is not written ({error.strerror}): choose another place, or make room.") from None
