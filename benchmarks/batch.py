"""Describing pictures by the hundred: `narrator batch` beside a loop of single calls, and its cost as the batch grows.

    python benchmarks/batch.py [--variant photo-captioner] [--pictures FOLDER] [--counts 100 1000 10000] [--json]

Prints milliseconds a picture, from file to filed row: of a loop of `narrate` calls, the median of repeated runs, and of
batches of growing counts, whose cost should stay flat; and how far memory rises. Pictures are repeated to make up the
counts, each under a name of its own, and described each time (no duplicates). Loop and batch must say the same.

How far it is goes to stderr. 10,000 pictures take ten minutes and more; Ctrl-C ends the batch in hand and prints what
is known until then.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

from benchmarks.describe import median_ms
from narrator.batch import BatchPlan, Item, Progress, run
from narrator.batch.sources import folder_names
from narrator.commands.common import is_terminal, overwrite, positive
from narrator.engine import Engine
from narrator.narrate import narrate
from narrator.settings import GenerationSettings

TOLD_S = 10.0  # between two lines of progress where the terminal cannot be written over
PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print. Exit code 0; 130 when it was cut short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="photo-captioner")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="a folder of pictures to repeat")
    parser.add_argument("--counts", type=positive, nargs="+", default=[100, 1000, 10_000], help="pictures in a batch")
    parser.add_argument("--beams", type=positive, default=GenerationSettings().num_beams)
    parser.add_argument("--single", type=positive, default=30, help="pictures in the loop of single calls")
    parser.add_argument("--repeats", type=positive, default=3, help="runs of that loop")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    stop = threading.Event()

    def asked(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("\nstopping after the pictures in hand …", file=sys.stderr)

    before = signal.signal(signal.SIGINT, asked)
    try:
        figures = measure(options, Engine(), GenerationSettings(num_beams=options.beams), stop)
    finally:
        signal.signal(signal.SIGINT, before)
    print(json.dumps(figures) if options.json else table(figures))
    return 130 if stop.is_set() else 0


def measure(options: argparse.Namespace, engine: Engine, settings: GenerationSettings,
            stop: threading.Event) -> dict[str, Any]:
    """The figures by name, of what was done until `stop` was set. Raises SystemExit when loop and batch do not say the
    same."""
    import torch

    files = [options.pictures / name for name in sorted(folder_names(options.pictures))]
    loop = [files[number % len(files)] for number in range(options.single)]
    print(f"{len(loop):,} single calls, {1 + options.repeats} times …", file=sys.stderr, flush=True)
    said = [_text(options.variant, path, settings, engine) for path in loop]  # and loads the variant
    one = median_ms(lambda: [_text(options.variant, path, settings, engine) for path in loop], options.repeats)
    batches = [one for one in (_batch(files, count, options.variant, settings, engine, stop)
                               for count in options.counts) if one["count"]]
    if not batches:
        raise SystemExit("It was stopped before the first batch: there is nothing to tell.")
    if any(alone != batches[0]["texts"].get(number, alone) for number, alone in enumerate(said)):
        raise SystemExit("The two do not say the same of the same pictures: their times cannot be compared.")
    for batch in batches:
        del batch["texts"]
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
               "threads": torch.get_num_threads(), "torch": torch.__version__}
    one_ms = one / len(loop)
    return {"machine": machine, "variant": options.variant, "beams": settings.num_beams, "one_ms": one_ms,
            "batches": batches, "ratio": one_ms / batches[-1]["each_ms"],
            "flat": batches[-1]["each_ms"] / batches[0]["each_ms"]}


def _text(variant: str, path: Path, settings: GenerationSettings, engine: Engine) -> str:
    """What a single call says."""
    return list(narrate(variant, path, settings=settings, engine=engine))[-1].text


def _batch(files: Sequence[Path], count: int, variant: str, settings: GenerationSettings,
           engine: Engine, stop: threading.Event) -> dict[str, Any]:
    """One batch of `count` pictures, or as many as were described until `stop` was set: its cost, the rise of memory,
    and what it says of the first pictures."""
    if stop.is_set():
        return {"count": 0}
    seen = _Seen(count, len(files))

    def items() -> Iterator[Item]:
        for number in range(count):
            yield Item(name=f"{number}.jpg", file=str(files[number % len(files)].absolute()))

    with tempfile.TemporaryDirectory() as folder:
        plan = BatchPlan(variant=variant, items=items, settings=settings, dedupe=False, out=Path(folder) / "o.jsonl")
        started = time.perf_counter()
        report = run(plan, seen, stop, engine)
        seconds = time.perf_counter() - started
    if report.failed or (report.done != count and not report.stopped):
        raise SystemExit(f"{report.failed} of {report.done} pictures failed: look at the pictures.")
    return {"count": report.done, "asked": count, "each_ms": seconds / max(1, report.done) * 1000,
            "rise_mb": seen.rise_mb, "texts": seen.texts}


class _Seen:
    """Hears how far a batch is, tells it on stderr, and keeps the most memory and the first texts."""

    def __init__(self, count: int, first: int) -> None:
        import psutil

        self.count, self.first, self.texts = count, first, dict[int, str]()
        self.process = psutil.Process()
        self.before = self.most = self.process.memory_info().rss
        self.told = time.perf_counter()

    @property
    def rise_mb(self) -> float:
        return (self.most - self.before) / 2**20

    def __call__(self, progress: Progress) -> None:
        self.most = max(self.most, self.process.memory_info().rss)
        self.texts.update({row.position: row.text for row in progress.rows if row.position < self.first})
        live = is_terminal(sys.stderr)
        if not progress.done or time.perf_counter() - self.told < (0.1 if live else TOLD_S):
            return
        self.told = time.perf_counter()
        each = progress.seconds / progress.done
        text = (f"batch of {self.count:,}: {progress.done:,} done, {each * 1000:.1f} ms a picture, memory up by "
                f"{self.rise_mb:.0f} MB, {(self.count - progress.done) * each / 60:.1f} min left")
        if live:
            overwrite(sys.stderr, text if progress.done < self.count else "")
        else:
            print(text, file=sys.stderr, flush=True)


def table(figures: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    machine = figures["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
             f"torch {machine['torch']}",
             f"{figures['variant']}, {figures['beams']} beams; one by one: {figures['one_ms']:.1f} ms a picture"]
    lines += [f"batch of {batch['count']:>9,}: {batch['each_ms']:7.1f} ms a picture, memory rises by "
              f"{batch['rise_mb']:.0f} MB{_cut(batch)}" for batch in figures["batches"]]
    return "\n".join([*lines, f"the largest batch against one by one: {figures['ratio']:.2f} times the throughput",
                      f"cost a picture, largest by smallest batch: {figures['flat']:.2f}"])


def _cut(batch: dict[str, Any]) -> str:
    return "" if batch["count"] == batch["asked"] else f" (stopped on the way to {batch['asked']:,})"


if __name__ == "__main__":
    raise SystemExit(main())
