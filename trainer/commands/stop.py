"""`trainer stop`: a running job ends after its step, with a checkpoint; a queued one leaves the queue."""

import argparse
import sys
import time

from trainer import jobs, queue
from trainer.commands.common import add_run, folder_of, shown

SAYS = "stop a run, with a checkpoint, or take it out of the queue"
POLL_S = 0.1


def add(parser: argparse.ArgumentParser) -> None:
    add_run(parser)


def run(options: argparse.Namespace) -> int:
    folder = folder_of(options)
    job = queue.stop(folder)
    if job.state == "running":
        print("It ends after its step, with a checkpoint ...", file=sys.stderr, flush=True)
    while job.state == "running":
        time.sleep(POLL_S)
        job = jobs.job_state(folder)
    print(shown(job))
    return 0
