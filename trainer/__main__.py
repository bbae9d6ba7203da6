"""The command line: `python -m trainer prepare | run | start | list | stop | resume | queue | logs | remove | doctor |
launch | dev`.

Exit codes: 0 done; 2 an error that a person can mend, told in one sentence on stderr; 3 stopped, to be resumed;
130 left by Ctrl-C.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from narrator.records import NarratorError
from trainer.commands import (
    dev,
    doctor,
    launching,
    listing,
    logs,
    prepare,
    remove,
    resume,
    run,
    start,
    stop,
    waiting,
)

COMMANDS = {"prepare": prepare, "run": run, "start": start, "list": listing, "stop": stop, "resume": resume,
            "queue": waiting, "logs": logs, "remove": remove, "doctor": doctor,
            "launch": launching, "dev": dev}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except NarratorError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    whole = argparse.ArgumentParser(prog="trainer", description="Train describers of pictures.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.SAYS, description=f"{command.SAYS[0].upper()}{command.SAYS[1:]}.")
        command.add(one)
        one.set_defaults(command=command.run)
    return whole


def leave(code: int) -> NoReturn:
    """End now. Python would first take torch apart, for seconds in which a stopped run were still there."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody may be listening any more
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    status = main()
    if "trainer.loop" in sys.modules:  # it has trained; all that it held is closed or written
        leave(status)
    sys.exit(status)
