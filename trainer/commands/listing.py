"""`trainer list`: the runs and how they stand."""

import argparse
import json

from trainer import jobs, queue
from trainer.commands.common import add_runs, shown

SAYS = "the runs and how they stand"
FIELDS = ("id", "state", "step", "total_steps", "position", "message", "pid")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_runs(parser)


def run(options: argparse.Namespace) -> int:
    queue.ensure_worker(options.runs)
    found = jobs.list_jobs(options.runs)
    if options.json:
        print(json.dumps([{name: getattr(job, name) for name in FIELDS} for job in found]))
    for job in [] if options.json else found:
        print(shown(job))
    return 0
