"""`narrator merge`: work an adapter into a copy of its base."""

from __future__ import annotations

import argparse
from pathlib import Path

SAYS = "work a variant's adapter into a copy of its base's weights, as a variant of its own"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="ID", help="the id of a variant with an adapter")
    parser.add_argument("--out", metavar="NAME", required=True, help="the id of the new variant")


def run(arguments: argparse.Namespace) -> int:
    from narrator.adapters import merge_adapter

    made = merge_adapter(arguments.variant, arguments.out)
    print(f"{made.title} is here: {Path(made.source)}")
    return 0
