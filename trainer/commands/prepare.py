"""`trainer prepare`: captions in any known format become a data set of one's own, limited and split by picture."""

import argparse
from pathlib import Path

from trainer.prepare import FILE, prepare
from trainer.run import show_progress

SAYS = "make a data set from captions in any known format, limited and split by picture"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="a file or folder with captions: COCO, Karpathy, JSON lines, CSV ...")
    parser.add_argument("--out", type=Path, required=True, help="a new folder, best below the data root")
    parser.add_argument("--limit", type=int, metavar="N", help="so many pictures, each with all its captions")
    parser.add_argument("--held-out", type=float, default=0.1, metavar="SHARE",
                        help="share of the pictures to measure on (default 0.1)")
    parser.add_argument("--split", help="only rows of this split")


def run(options: argparse.Namespace) -> int:
    made = prepare(options.source, options.out, limit=options.limit, held_out=options.held_out, split=options.split,
                   tell=_told)
    print(f"{options.out / FILE}: {made}")
    return 0


def _told(done: int, total: int) -> None:
    if done == total or done % 500 == 0:
        show_progress("pictures", done, total)
