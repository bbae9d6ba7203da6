"""Describing pictures by the hundred: `narrator batch` beside a loop of single calls, and its cost as the batch grows.

    python benchmarks/batch.py [--variant photo-captioner] [--pictures FOLDER] [--counts 100 1000 10000] [--json]

Prints milliseconds a picture, from file to filed row: of a loop of `narrate` calls, the median of repeated runs, and of
batches of growing counts, whose cost should stay flat; and how far memory rises. Pictures are repeated to make up the
counts, each under a name of its own, and described each time (no duplicates). Loop and batch must say the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

from benchmarks.describe import median_ms
from narrator.batch import BatchPlan, Item, Progress, run
from narrator.batch.sources import folder_names
from narrator.commands.common import positive
from narrator.engine import Engine
from narrator.narrate import narrate
from narrator.settings import GenerationSettings

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="photo-captioner")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="a folder of pictures to repeat")
    parser.add_argument("--counts", type=positive, nargs="+", default=[100, 1000, 10_000], help="pictures in a batch")
    parser.add_argument("--beams", type=positive, default=GenerationSettings().num_beams)
    parser.add_argument("--single", type=positive, default=30, help="pictures in the loop of single calls")
    parser.add_argument("--repeats", type=positive, default=3, help="runs of that loop")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    figures = measure(options, Engine(), GenerationSettings(num_beams=options.beams))
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measure(options: argparse.Namespace, engine: Engine, settings: GenerationSettings) -> dict[str, Any]:
    """The figures by name. Raises SystemExit when loop and batch do not say the same."""
    import torch

    files = [options.pictures / name for name in sorted(folder_names(options.pictures))]
    loop = [files[number % len(files)] for number in range(options.single)]
    said = [_text(options.variant, path, settings, engine) for path in loop]  # and loads the variant
    one = median_ms(lambda: [_text(options.variant, path, settings, engine) for path in loop], options.repeats)
    batches = [_batch(files, count, options.variant, settings, engine) for count in options.counts]
    if any(alone != text for alone, text in zip(said, batches[0]["texts"], strict=False)):
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
           engine: Engine) -> dict[str, Any]:
    """One batch of `count` pictures: its cost, the rise of memory, and what it says of the first pictures."""
    import psutil

    texts: dict[int, str] = {}
    process = psutil.Process()
    before = most = process.memory_info().rss

    def items() -> Iterator[Item]:
        for number in range(count):
            yield Item(name=f"{number}.jpg", file=str(files[number % len(files)].absolute()))

    def tell(progress: Progress) -> None:
        nonlocal most
        most = max(most, process.memory_info().rss)
        texts.update({row.position: row.text for row in progress.rows if row.position < len(files)})

    with tempfile.TemporaryDirectory() as folder:
        plan = BatchPlan(variant=variant, items=items, settings=settings, dedupe=False, out=Path(folder) / "o.jsonl")
        started = time.perf_counter()
        report = run(plan, tell, engine=engine)
        seconds = time.perf_counter() - started
    if report.failed or report.done != count:
        raise SystemExit(f"{report.failed} of {report.done} pictures failed: look at the pictures.")
    return {"count": count, "each_ms": seconds / count * 1000, "rise_mb": (most - before) / 2**20,
            "texts": [texts[number] for number in sorted(texts)]}


def table(figures: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    machine = figures["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads, "
             f"torch {machine['torch']}",
             f"{figures['variant']}, {figures['beams']} beams; one by one: {figures['one_ms']:.1f} ms a picture"]
    lines += [f"batch of {batch['count']:>9,}: {batch['each_ms']:7.1f} ms a picture, memory rises by "
              f"{batch['rise_mb']:.0f} MB" for batch in figures["batches"]]
    return "\n".join([*lines, f"the largest batch against one by one: {figures['ratio']:.2f} times the throughput",
                      f"cost a picture, largest by smallest batch: {figures['flat']:.2f}"])


if __name__ == "__main__":
    raise SystemExit(main())
