"""`narrator batch`: folders, zips and lists of photographs -> one file of descriptions."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from narrator.commands.common import add_settings, is_terminal, overwrite, positive, print_json, settings_of, warn
from narrator.commands.describe import prompt_of

if TYPE_CHECKING:
    from narrator.batch import BatchPlan, Progress, Report

SAYS = "describe folders, zips and lists of photographs into one file, by the hundred thousand"
NAMED_FAILURES = 20  # the rest is counted
TOLD_S = 10.0  # between two lines where the terminal cannot be written over


def add(parser: argparse.ArgumentParser) -> None:
    from narrator.batch.plan import AUDIENCES, ENGINES, FORMATS

    parser.add_argument("sources", metavar="FOLDER|GLOB|ZIP|LIST", nargs="+",
                        help="a folder with all its folders, a pattern in quotes ('trip/**/*.jpg'), a zip, a text file "
                             'with a path a line, a .jsonl of {"image": path, "prompt": its own}, or pictures')
    parser.add_argument("--variant", metavar="ID", help="which variant describes (default: the first of the catalog)")
    parser.add_argument("--prompt", metavar="T", default="", help="what to ask, where the variant takes a prompt")
    parser.add_argument("--mode", metavar="M", help="what to do, where the variant has modes instead of prompts")
    parser.add_argument("--out", metavar="PATH", type=Path,
                        help="the file to write (default: descriptions.*), or the folder for sidecar (default: beside "
                             "each picture)")
    parser.add_argument("--format", choices=tuple(FORMATS), help="default: by the ending of --out, else jsonl")
    found = parser.add_mutually_exclusive_group()
    found.add_argument("--skip-existing", dest="existing", action="store_const", const="skip",
                       help="leave out pictures that have a text in the file, or beside them, and add the rest")
    found.add_argument("--overwrite", dest="existing", action="store_const", const="overwrite",
                       help="write the file, or the texts, anew")
    found.add_argument("--append", dest="existing", action="store_const", const="append",
                       help="add a row for each picture to the file; one without a text gives way to one with it")
    parser.add_argument("--resume", action="store_true",
                        help="go on with a batch that was stopped or killed; what failed is tried again where its file "
                             "has changed")
    parser.add_argument("--audience", choices=AUDIENCES, default="long",
                        help="which text sidecar, coco and speech take: a full description (default), or an "
                             "alternative text of at most 125 characters; the other formats hold both")
    parser.add_argument("--speak", action="store_true", help="make a WAV of each description")
    parser.add_argument("--voice", metavar="V", help="id, name or language of a voice, such as en-us")
    parser.add_argument("--no-dedupe", dest="dedupe", action="store_false",
                        help="describe pictures with the same pixels again")
    parser.add_argument("--batch-size", metavar="N", type=positive,
                        help="pictures at once (default: measured by memory and time)")
    parser.add_argument("--engine", choices=ENGINES, default="here",
                        help="where to compute: here, or on a Ray cluster (pip install 'ray[data]')")
    parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")
    parser.set_defaults(existing="refuse")
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from narrator.batch import BatchPlan, shards
    from narrator.batch import run as run_batch
    from narrator.catalog import default_variant, find_variant

    variant = find_variant(arguments.variant) if arguments.variant else default_variant()
    plan = BatchPlan(
        variant=variant.id, sources=tuple(arguments.sources), prompt=prompt_of(variant, arguments),
        settings=settings, out=arguments.out, format=arguments.format or _format_of(arguments.out),
        existing=arguments.existing, resume=arguments.resume, audience=arguments.audience, speak=arguments.speak,
        voice=arguments.voice, dedupe=arguments.dedupe, batch_size=arguments.batch_size, engine=arguments.engine)
    stop = threading.Event()
    told = _Told(shards.number(), shards.count())
    with _stopped_by_signals(stop):
        report = run_batch(plan, told, stop)
    told.end()
    return _outcome(report, plan, arguments, first=shards.number() == 0, alone=shards.count() == 1)


def _format_of(out: Path | None) -> str:
    """By the ending of the file; jsonl where it says nothing."""
    from narrator.batch.plan import FORMATS

    ending = out.suffix.lower() if out is not None else ""
    return next((name for name, kind in FORMATS.items() if kind.suffix == ending and ending), "jsonl")


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the batch after the pictures in hand, the second one at once."""
    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        warn("stopping after the pictures in hand …")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcome(report: Report, plan: BatchPlan, arguments: argparse.Namespace, *, first: bool,
             alone: bool) -> int:
    """Tell what came of it; the exit code."""
    from narrator.batch.writers import failures

    if first:
        if arguments.json:
            print_json({"out": str(report.out), "done": report.done, "failed": report.failed,
                        "duplicates": report.duplicates, "skipped": report.skipped,
                        "seconds": round(report.seconds, 3), "stopped": report.stopped})
        elif not report.stopped:
            told = _finished_before(report, plan)
            failed = failures(plan) if told else report.failed
            print(f"{report.out} is finished already: nothing to do." if told else _sentence(report, plan))
            if failed:
                warn(f"{failed:,} {'has' if failed == 1 else 'have'} no text: mend the files, then {_again(plan)}.")
        if report.stopped:
            warn(f"stopped with {report.done:,} rows; the same command with --resume goes on.")
    if report.stopped:
        return 130
    return 1 if report.failed and alone else 0  # a launcher takes any other code for a crash, and says so at length


def _finished_before(report: Report, plan: BatchPlan) -> bool:
    return plan.resume and not report.done and not report.skipped


def _again(plan: BatchPlan) -> str:
    """How what failed is described again."""
    from narrator.batch.plan import FORMATS

    if plan.format != "sidecar" and not FORMATS[plan.format].grows:
        return "run it again with --overwrite"
    return "run it again with --skip-existing, which describes these alone"


def _sentence(report: Report, plan: BatchPlan) -> str:
    extra = "".join(f", {count:,} {what}" for count, what in (
        (report.failed, "failed"), (report.duplicates, "duplicates"), (report.skipped, "skipped")) if count)
    where = "beside the pictures" if plan.beside else report.out
    rows = f"{report.done:,} row{'' if report.done == 1 else 's'}"
    return f"{where}: {rows}{extra}, in {report.seconds:.0f} s"


class _Told:
    """Progress on stderr: in place on a terminal, else a line now and then; bad pictures by name."""

    def __init__(self, number: int, count: int) -> None:
        self.which = f"process {number + 1} of {count}: " if count > 1 else ""
        self.quiet = number > 0
        self.live = is_terminal(sys.stderr)
        self.failures = 0
        self.last, self.status = 0.0, ""

    def __call__(self, progress: Progress) -> None:
        for row in progress.rows:
            if row.error is not None:
                self._failed(row.path, row.error)
        due = time.perf_counter() - self.last >= (0.1 if self.live else TOLD_S)
        if self.quiet or not (due or progress.status != self.status):
            return
        self.last, self.status = time.perf_counter(), progress.status
        text = self.which + _line(progress)
        if self.live:
            overwrite(sys.stderr, text)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """The last word."""
        if self.live and not self.quiet:
            overwrite(sys.stderr, "")
        if self.failures > NAMED_FAILURES:
            warn(f"{self.failures - NAMED_FAILURES:,} more failed; their rows say why.")

    def _failed(self, path: str, error: str) -> None:
        self.failures += 1
        if self.failures <= NAMED_FAILURES:
            if self.live:
                overwrite(sys.stderr, "")
            warn(f"{path}: {error}")


def _line(progress: Progress) -> str:
    """`1,200 of 5,000, 35.0 a second, 1 min 49 s left`"""
    if not progress.done and not progress.skipped:
        return progress.status
    of = "" if progress.total is None else f" of {progress.total:,}"
    left = "" if progress.left_s is None else f", {_span(progress.left_s)} left"
    return f"{progress.status} {progress.done + progress.skipped:,}{of}{left}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
