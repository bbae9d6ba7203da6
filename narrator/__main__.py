"""The command line: `python -m narrator describe | batch | speak | evaluate | score | agreement | variants | add |
pull | remove | adapter | merge | export | push | corrections | history | compare`.

Exit codes: 0 all done; 1 a photograph failed; 2 nothing could be done, for a reason given in one sentence on stderr;
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import _thread
import argparse
import atexit
import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from narrator.commands import (
    adapter,
    add,
    agreement,
    batch,
    compare,
    corrections,
    describe,
    evaluate,
    export,
    history,
    merge,
    pull,
    push,
    remove,
    score,
    speak,
    variants,
)
from narrator.commands.common import warn
from narrator.records import NarratorError

COMMANDS = {"describe": describe, "batch": batch, "speak": speak, "evaluate": evaluate, "score": score,
            "agreement": agreement, "variants": variants, "add": add, "pull": pull, "remove": remove,
            "adapter": adapter, "merge": merge, "export": export, "push": push, "corrections": corrections,
            "history": history, "compare": compare}
STOPPED = 130  # 128 + SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    _prepare_streams()
    if argv is None:  # the process is this command's
        sys.unraisablehook = _hear_again
    logging.basicConfig(format="narrator: %(message)s", level=logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its advice is for programmers
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except NarratorError as error:
        warn(error)
        return 2
    except ModuleNotFoundError as error:
        warn(f"The package {error.name} is not installed here: use the environment that `make run` made "
             "(.venv/bin/python), or run `pip install -r requirements.txt`.")
        return 2
    except BrokenPipeError:  # whoever read has seen enough, as in `... | head -1`
        _drop_output()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _drop_output()
        warn("The disk is full, so the output is cut short: free some space and run it again.")
        return 2
    except KeyboardInterrupt:
        if argv is None:
            _leave(STOPPED)
        warn("stopped.")
        return STOPPED


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    says = "Describe photographs in words, speak the words, measure the descriptions."
    whole = argparse.ArgumentParser(prog="narrator", description=says, allow_abbrev=False)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        says = command.SAYS[0].upper() + command.SAYS[1:] + "."
        one = commands.add_parser(name, help=command.SAYS, description=says, allow_abbrev=False)
        command.add(one)
        one.set_defaults(run=command.run)
    return whole


def _prepare_streams() -> None:
    """A file name that is not UTF-8, or a terminal that knows no UTF-8, must not end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _hear_again(lost: sys.UnraisableHookArgs) -> None:
    """A Ctrl-C that came while an object was cleared away, where Python can raise nothing, comes again a little later:
    here it would be lost, too."""
    if lost.exc_type is KeyboardInterrupt:
        timer = threading.Timer(0.05, _interrupt)
        timer.daemon = True
        timer.start()
    else:
        sys.__unraisablehook__(lost)


def _interrupt() -> None:
    """Ctrl-C for the main thread, even while it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _leave(code: int) -> NoReturn:
    """Stopped at any moment: libraries whose threads still work abort when Python takes itself apart around them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending
    warn("stopped.")
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _drop_output() -> None:
    """What is still in the buffer goes nowhere: Python would fail on it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
