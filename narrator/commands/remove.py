"""`narrator remove`: delete a variant's files from this machine."""

from __future__ import annotations

import argparse
import sys

from narrator.records import NarratorError

SAYS = "delete a variant's files from this machine"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="ID", help="the id of a variant; those that come with the project stay")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    from narrator.catalog import find_variant
    from narrator.hub import disk_bytes, remove
    from narrator.hub.cache import removable
    from narrator.hub.pulling import size

    variant = find_variant(arguments.variant)
    folder = removable(variant)
    if not arguments.yes and not _agreed(f"Delete {folder} ({size(disk_bytes(variant))})? [y/N] "):
        print("Nothing was deleted.")
        return 1
    freed = remove(variant.id)
    print(f"{variant.title} is removed; {size(freed)} are free again.")
    return 0


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise NarratorError("Nothing was deleted: without a terminal nobody can be asked; add --yes.")
    return input(question).strip().lower() in ("y", "yes")
