"""`trainer queue`: the jobs that wait, in order; one of them can be moved or taken out."""

import argparse

from narrator.records import NarratorError
from trainer import queue
from trainer.commands.common import add_runs, folder_of, shown

SAYS = "the runs that wait, in order, and their order changed"


def add(parser: argparse.ArgumentParser) -> None:
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--move", nargs=2, metavar=("RUN", "N"), help="N places later; -1: one place earlier")
    change.add_argument("--remove", metavar="RUN", help="take it out of the queue; `trainer resume` can put it back")
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    if options.move is not None:
        options.run, by = options.move
        if not by.lstrip("-+").isdecimal():
            raise NarratorError(f"--move RUN N: N is a whole number of places, such as -1, not {by!r}.")
        queue.move(folder_of(options), int(by))
    elif options.remove is not None:
        options.run = options.remove
        queue.leave(folder_of(options))
    queue.ensure_worker(options.runs)
    for job in queue.queued(options.runs):
        print(shown(job))
    return 0
