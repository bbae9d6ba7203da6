"""`narrator export`: a variant as one folder or zip archive."""

from __future__ import annotations

import argparse
from pathlib import Path

from narrator.commands.pull import Shown

SAYS = "write a variant to a folder or zip archive that transformers and another Visual Narrator load"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="ID", help="the id of a variant (see `narrator variants`)")
    parser.add_argument("--out", metavar="F", type=Path, required=True, help="a new folder, or a new file F.zip")


def run(arguments: argparse.Namespace) -> int:
    from narrator.hub.exporting import export_variant

    shown = Shown()
    try:
        out = export_variant(arguments.variant, arguments.out, shown)
    finally:
        shown.clear()
    print(f"Exported: {out}")
    return 0
