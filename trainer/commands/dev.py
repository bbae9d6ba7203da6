"""`trainer dev`: a preset's held-out examples, as files that `narrator evaluate` measures a variant on."""

import argparse
import sys
from pathlib import Path

from trainer.config import load_config
from trainer.data import resolve_data_root

SAYS = "write a preset's held-out examples as rows for `narrator evaluate`"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", type=Path, help="a YAML file, or the config.yaml of a run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files, one for each dev set")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, as for run")
    parser.add_argument("--data-root", help="folder of the data sets (else NARRATOR_DATA, else data/)")


def run(options: argparse.Namespace) -> int:
    config = load_config(options.preset, options.set)
    root = resolve_data_root(options.data_root)
    print(f"Reading the data of {config.name} ...", file=sys.stderr, flush=True)
    from trainer.held_out import write  # torch and transformers

    for path, rows in write(config, root, options.out):
        print(f"{path}: {rows:,} rows", flush=True)
    return 0
