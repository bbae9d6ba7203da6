"""`trainer resume`: a run that was stopped or broke off goes on from its last checkpoint."""

import argparse
import contextlib
import sys

from trainer import claims, jobs, queue, together
from trainer.commands.common import add_run, folder_of, shown, train

SAYS = "go on with a run that was stopped or broke off"


def add(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--queue", action="store_true", help="put it into the queue, instead of going on here")
    parser.add_argument("--queued", action="store_true", help=argparse.SUPPRESS)  # so the queue's worker starts it


def run(options: argparse.Namespace) -> int:
    folder = folder_of(options)
    if options.queue:
        print(shown(queue.resume(folder)))
        return 0
    try:
        with contextlib.ExitStack() as held:
            def take() -> bool:
                held.enter_context(claims.computing(folder.parent, wait=not options.queued))
                done = jobs.job_state(folder).state == "done"
                if not done:
                    held.enter_context(claims.taken(folder, queued=options.queued))
                return done

            if not together.first(take):  # of the processes that a launcher started, one holds the run
                return train(folder)
            print(f"{folder.name} is done already.", file=sys.stderr)
            return 0
    except claims.NotNow as reason:
        print(reason, file=sys.stderr)
        return claims.NOT_NOW
