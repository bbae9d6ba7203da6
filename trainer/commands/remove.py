"""`trainer remove`: delete a run with its checkpoints; the variant that it made is kept."""

import argparse

from trainer import queue
from trainer.commands.common import add_run, folder_of

SAYS = "delete a run that has ended; the variant that it made is kept"


def add(parser: argparse.ArgumentParser) -> None:
    add_run(parser)


def run(options: argparse.Namespace) -> int:
    folder = folder_of(options)
    queue.remove(folder)
    print(f"{folder.name} is gone.")
    return 0
