"""`narrator pull`: download a variant of the Hub."""

from __future__ import annotations

import argparse
import sys

from narrator.commands.common import is_terminal, overwrite

SAYS = "download a variant of the Hub, or go on with a download that broke"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="ID", help="the id of a variant (see `narrator variants`)")


def run(arguments: argparse.Namespace) -> int:
    from narrator.catalog import find_variant
    from narrator.hub import pull

    variant = find_variant(arguments.variant)
    shown = Shown()
    try:
        folder = pull(variant, shown)
    finally:
        shown.clear()
    print(f"{variant.title} is here: {folder}")
    return 0


class Shown:
    """Progress on stderr: in place on a terminal, else a line every tenth of the way."""

    def __init__(self) -> None:
        self.tenth = -1

    def __call__(self, done: int, total: int) -> None:
        from narrator.hub.pulling import size

        share = done / total if total else 1.0
        text = f"{size(done)} of {size(total)} ({share:.0%})"
        if is_terminal(sys.stderr):
            overwrite(sys.stderr, text)
        elif int(10 * share) > self.tenth:
            self.tenth = int(10 * share)
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if is_terminal(sys.stderr):
            overwrite(sys.stderr, "")
