"""`trainer launch`: the commands that train a preset in several processes or on several machines, printed."""

import argparse
import os
from pathlib import Path

from trainer.config import load_config
from trainer.launch import HOST, KINDS, counted, launch_commands

SAYS = "print the command for several GPUs or machines, one line for each machine; nothing is started"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", type=Path, help="a YAML file, such as trainer/presets/gpt2.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, as for run")
    parser.add_argument("--data-root", help="folder of the data sets, at the same path on each machine")
    ways = "; ".join(f"{name}: {says}" for name, says in KINDS.items())
    parser.add_argument("--kind", default="gpus", help=f"how (gpus). {ways}")
    parser.add_argument("--machines", default="1", metavar="N", help="so many machines (1)")
    parser.add_argument("--processes", default="2", metavar="N", help="so many processes on each, one for each GPU (2)")
    parser.add_argument("--host", default=HOST, help="name or address that the others reach the first machine by")


def run(options: argparse.Namespace) -> int:
    config = load_config(options.preset, options.set)
    changes = [part for change in options.set for part in ("--set", change)]
    training = ["run", os.path.relpath(options.preset), *changes]
    if options.data_root is not None:
        training += ["--data-root", os.path.abspath(options.data_root)]
    for line in launch_commands(config, training, kind=options.kind, machines=counted("--machines", options.machines),
                                processes=counted("--processes", options.processes), host=options.host):
        print(line)
    return 0
