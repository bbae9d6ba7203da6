"""`trainer logs`: what a run has said, and goes on to say."""

import argparse
import time

from trainer import jobs, queue
from trainer.commands.common import add_run, folder_of

SAYS = "what a run that the queue started has said"
POLL_S = 0.5


def add(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--lines", type=int, default=200, metavar="N", help="the last N lines (default 200)")
    parser.add_argument("--follow", action="store_true",
                        help="go on until the run ends; Ctrl-C leaves, the run goes on")


def run(options: argparse.Namespace) -> int:
    folder = folder_of(options)
    said, end = queue.said_since(folder, -queue.TAIL_BYTES)
    print("".join(f"{line}\n" for line in said.splitlines()[-options.lines:]), end="", flush=True)
    going = options.follow
    while going:
        time.sleep(POLL_S)
        going = jobs.job_state(folder).state in ("queued", "running")  # asked first: what it said last is shown too
        said, end = queue.said_since(folder, end)
        print(said, end="", flush=True)
    return 0
