"""`narrator add`: put a model that somebody else saved into the catalog."""

from __future__ import annotations

import argparse
from pathlib import Path

from narrator.records import NarratorError, Variant

SAYS = "add a model of transformers, from a folder or from the Hub, to the catalog"


def add(parser: argparse.ArgumentParser) -> None:
    from narrator.families import FAMILIES

    parser.add_argument("model", metavar="FOLDER|OWNER/NAME",
                        help="a folder with config.json and safetensors, which is copied; or a repository of the Hub")
    parser.add_argument("--family", choices=[name for name in FAMILIES if name != "remote"],
                        help="what it has to be (default: what its config.json says)")
    parser.add_argument("--vision", metavar="FOLDER", type=Path,
                        help="of a projector (--family projector_lm): the CLIP that it was trained with")
    parser.add_argument("--language", metavar="FOLDER", type=Path, help="and its language model")
    parser.add_argument("--separator", metavar="TOKEN", help="and the token between picture and text: number or text")
    parser.add_argument("--id", metavar="ID", help="the id of the new variant (default: its name)")
    parser.add_argument("--title", metavar="T", help="how it is called for people (default: its name)")


def run(arguments: argparse.Namespace) -> int:
    from narrator.adding import add_folder, add_repository

    more = {"family": arguments.family, "name": arguments.id, "title": arguments.title}
    if arguments.vision or arguments.language:
        made = _projector(arguments)
        print(f"{made.title} is here as {made.id} ({made.family}): {made.source}")
    elif Path(arguments.model).expanduser().is_dir():
        made = add_folder(Path(arguments.model), **more)
        print(f"{made.title} is here as {made.id} ({made.family}): {made.source}")
    else:
        made = add_repository(arguments.model, **more)
        print(f"{made.title} is in the catalog as {made.id} ({made.family}); `python -m narrator pull {made.id}` "
              "downloads it.")
    return 0


def _projector(arguments: argparse.Namespace) -> Variant:
    from narrator.adding.projectors import Parts, add_projector

    if not (arguments.vision and arguments.language) or arguments.family not in (None, "projector_lm"):
        raise NarratorError("A projector needs both --vision and --language, the folders of the models that it stands "
                            "between, and is of the family projector_lm.")
    parts = Parts(vision=arguments.vision, language=arguments.language, separator=arguments.separator)
    return add_projector(Path(arguments.model), parts, name=arguments.id, title=arguments.title)
