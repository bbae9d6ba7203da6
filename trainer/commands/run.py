"""`trainer run`: a preset becomes a run, which is trained here to its end."""

import argparse
import contextlib
import dataclasses
from pathlib import Path

from trainer import claims, jobs, together
from trainer.commands.common import add_preset, asked, train

SAYS = "train from a preset, in this terminal"


def add(parser: argparse.ArgumentParser) -> None:
    add_preset(parser)


def run(options: argparse.Namespace) -> int:
    config, places = asked(options)
    with contextlib.ExitStack() as held:
        def make() -> Path:
            held.enter_context(claims.computing(options.runs, wait=True))
            folder = jobs.create_job(config.name, dataclasses.asdict(config), options.runs, places)
            held.enter_context(claims.taken(folder))
            return folder

        return train(together.first(make))  # of the processes that a launcher started, one makes and holds the run
