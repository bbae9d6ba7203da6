"""`trainer doctor`: whether a preset or a run would go well, and what it takes, before anything is started."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from narrator.records import NarratorError
from trainer.card import PLACES
from trainer.config import load_config
from trainer.data import resolve_data_root
from trainer.jobs import CONFIG

SAYS = "whether a preset would go well: data, base, disk, memory and time, each finding with its remedy"
TELL_S = 1.0  # seconds between two lines of progress


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", type=Path, help="a YAML file, or the folder of a run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting, as for run")
    parser.add_argument("--data-root", help="folder of the data sets (else the run's own, NARRATOR_DATA, or data/)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs: its disk, its cards")
    parser.add_argument("--quick", action="store_true",
                        help="what `start` does first: fewer pictures, no dry run, memory estimated, time not told")
    parser.add_argument("--pictures", type=int, metavar="N",
                        help="open at most so many, evenly from first to last (20000; with --quick 2000)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> int:
    """0 whatever was found: the findings say it. NarratorError for a configuration that cannot be read."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        return _look(options)
    finally:
        signal.signal(signal.SIGTERM, before)


def _look(options: argparse.Namespace) -> int:
    from trainer.doctor import check, plain, told  # torch and transformers

    preset, named = options.preset, options.data_root
    if (preset / CONFIG).is_file():
        named = named or _root_of(preset)
        preset = preset / CONFIG
    config = load_config(preset, options.set)
    try:
        root = resolve_data_root(named)
    except NarratorError as error:
        print(f"trainer: {error}", file=sys.stderr)  # the model can be counted without its data
        root = Path(named or "data")
    report = check(config, root, Teller(), quick=options.quick, runs=options.runs, most_pictures=options.pictures)
    print(json.dumps(plain(report)) if options.json else told(config, report))
    return 0


class Teller:
    """Progress on standard error, a line a second at most."""

    def __init__(self) -> None:
        self.told = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self.told > TELL_S:
            self.told = time.monotonic()
            print(f"{what} {done:,} of {total:,}" if total else what, file=sys.stderr, flush=True)


def _leave(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _root_of(run: Path) -> str | None:
    """The data root that a run was begun with."""
    try:
        return str(json.loads((run / PLACES).read_text(encoding="utf-8"))["data_root"])
    except (OSError, ValueError, KeyError):
        return None
