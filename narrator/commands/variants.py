"""`narrator variants`: what there is to choose from."""

from __future__ import annotations

import argparse
import dataclasses

from narrator.commands.common import print_json, warn
from narrator.records import Variant

SAYS = "list the variants that can describe"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON list, a variant an object")


def run(arguments: argparse.Namespace) -> int:
    from narrator.catalog import load_variants, problems

    variants = list(load_variants().values())
    for problem in problems():
        warn(problem)
    if arguments.json:
        print_json([dataclasses.asdict(variant) for variant in variants])
    elif not variants:
        print("There is no variant yet: train one, or set NARRATOR_CHECKPOINTS to a folder of checkpoints.")
    else:
        rows = [("ID", "TAKES", "SIZE", "LICENSE", "TITLE"), *map(_row, variants)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))
    return 0


def _row(variant: Variant) -> tuple[str, str, str, str, str]:
    count = variant.parameters
    size = "?" if not count else f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"
    return variant.id, " + ".join(variant.takes()), size, variant.license or "?", variant.title
