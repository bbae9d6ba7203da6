"""`narrator corrections`: the descriptions that were put right on the page, and a copy of them to train on."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from narrator.commands.common import print_json, warn
from narrator.corrections import HELD_OUT, corrections_of, split_of
from narrator.records import NarratorError

SAYS = "list the corrections kept on the page, or copy them into a folder to train on"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--export", metavar="FOLDER", type=Path,
                        help="a new folder with captions.jsonl and the pictures, as a training reads them")
    parser.add_argument("--held-out", metavar="X", type=float, default=HELD_OUT,
                        help=f"share of the pictures for the split dev (0 to 0.9; default {HELD_OUT})")


def run(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.held_out <= 0.9:
        raise NarratorError(f"--held-out must be between 0 and 0.9, not {arguments.held_out:g}.")
    mine = corrections_of()
    kept = mine.export(arguments.export, arguments.held_out) if arguments.export else mine.all()
    for problem in kept.problems:
        warn(f"Left out: {problem}")
    splits = split_of({one.sha256 for one in kept.corrections}, arguments.held_out)
    for one in kept.corrections:
        if arguments.json:
            print_json({**dataclasses.asdict(one), "picture": str(one.picture), "split": splits[one.sha256]})
        elif not arguments.export:
            print(f"{one.picture.name[:12]} ({splits[one.sha256]}, {one.variant}): {one.before} -> {one.after}")
    if arguments.json:
        return 0
    if arguments.export:
        count = len(kept.corrections)
        print(f"{arguments.export}: {count} correction{'' if count == 1 else 's'}, "
              f"{sum(split == 'dev' for split in splits.values())} of {len(splits)} pictures held out.")
    elif not kept.corrections:
        print("No correction is kept yet: edit a description on the page, then press Keep correction.")
    return 0
