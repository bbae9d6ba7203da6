"""`trainer start`: a preset becomes a run in the queue, and this terminal is free again."""

import argparse
import dataclasses
import sys
from pathlib import Path

from narrator.records import NarratorError
from trainer import queue
from trainer.commands.common import add_preset, asked, shown
from trainer.commands.doctor import Teller
from trainer.config import TrainingConfig

SAYS = "put a run of a preset into the queue; it goes on when the terminal is closed"


def add(parser: argparse.ArgumentParser) -> None:
    add_preset(parser)
    parser.add_argument("--request", help="a name for this wish: the same one again starts nothing new")
    parser.add_argument("--no-check", action="store_true", help="do not look at data and base first (doctor --quick)")


def run(options: argparse.Namespace) -> int:
    config, places = asked(options)
    if not options.no_check and queue.of_request(options.runs, options.request) is None:
        _look(config, Path(places["data_root"]), options.runs)
    print(shown(queue.submit(dataclasses.asdict(config), places, runs=options.runs, request=options.request)))
    return 0


def _look(config: TrainingConfig, root: Path, runs: Path) -> None:
    """Tell what is to be minded. Raises NarratorError for what the run would fail of, or be worthless for."""
    from trainer.doctor import check, line_of  # torch and transformers

    report = check(config, root, Teller(), quick=True, runs=runs)
    for finding in report.findings:
        if finding.level != "ok":
            print(line_of(finding), file=sys.stderr)
    errors = sum(finding.level == "error" for finding in report.findings)
    if errors:
        things = "one thing" if errors == 1 else f"{errors} things"
        way = "Mend that, or add --no-check to start it all the same." if report.begins else "Then start it again."
        raise NarratorError(f"The run was not started: {things} must be mended first. {way}")
