"""`trainer start`: a preset becomes a run in the queue, and this terminal is free again."""

import argparse
import dataclasses

from trainer import queue
from trainer.commands.common import add_preset, asked, shown

SAYS = "put a run of a preset into the queue; it goes on when the terminal is closed"


def add(parser: argparse.ArgumentParser) -> None:
    add_preset(parser)
    parser.add_argument("--request", help="a name for this wish: the same one again starts nothing new")


def run(options: argparse.Namespace) -> int:
    config, places = asked(options)
    print(shown(queue.submit(dataclasses.asdict(config), places, runs=options.runs, request=options.request)))
    return 0
