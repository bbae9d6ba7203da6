"""`narrator adapter add`: put an adapter beside its base."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

SAYS = "add an adapter (PEFT) that was trained elsewhere to a base of the catalog"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["add"], help="what to do")
    parser.add_argument("folder", metavar="FOLDER", type=Path,
                        help="holds adapter_config.json and adapter_model.safetensors; or a zip archive of it")
    parser.add_argument("--base", metavar="ID", required=True, help="the id of the variant that it was trained on")
    parser.add_argument("--name", metavar="N", help="the id of the new variant (default: the folder's name)")


def run(arguments: argparse.Namespace) -> int:
    from narrator.adapters import add_adapter
    from narrator.adapters.files import gather
    from narrator.adapters.placing import slug

    folder: Path = arguments.folder
    name = arguments.name or slug(folder.absolute().name if folder.is_dir() else folder.stem)
    with tempfile.TemporaryDirectory(prefix="narrator-") as scratch:
        if folder.is_file() and folder.suffix.lower() == ".zip":
            folder = Path(scratch) / "adapter"
            gather([arguments.folder], folder)
        made = add_adapter(folder, arguments.base, name=name)
    print(f"{made.title} is here: {made.adapter}")
    return 0
