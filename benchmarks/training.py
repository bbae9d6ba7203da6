"""Training: ours beside a plain script with transformers' Trainer, on the same model, data and batch.

    python benchmarks/training.py [PRESET ...] [--data-root FOLDER] [--steps 24] [--repeats 3] [--json]

For each stage of a preset that a plain script can do (not those that learn from words in the place of pictures, from a
teacher or from a reward): texts learned a second and peak memory, each the median of repeated runs, in turns, every
run in a process of its own. The peer keeps a row for each text, padded to one length, stacks rows by the default
collator, and encodes every picture in every step; `longest` is the one that pads rows of text to the longest of their
batch. Both compute in the same precision. Before anything is timed, the two give the same loss on the same texts, or it
ends.
Our frozen encoders' features are cached before the steps that are timed: `prepared_s` says how long that took.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs without an installation

from narrator.commands.common import positive
from narrator.records import NarratorError
from trainer.config import Stage, TrainingConfig, load_config
from trainer.data import resolve_data_root

PROJECT = Path(__file__).resolve().parent.parent
PRESETS = PROJECT / "trainer" / "presets"
SMALL = ("photo-captioner", "vit-gpt2-small", "prompt-narrator", "prompt-narrator-vivid", "picture-qa", "digit-reader")
MEASURED = ("caption", "answer", "picture_tokens")  # objectives that a plain script can have
# Each process is a copy of one that has imported the libraries and done nothing else.
FRESH = multiprocessing.get_context("forkserver")
IMPORTED = ["torch", "transformers", "trainer.loop", "benchmarks.training_peers"]
WARM = 3  # steps that are not counted
SAME = 0.02  # relative difference of losses that counts as the same: features are kept in 16 bits


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; exit code 0, or 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=list(SMALL), help="names or files (default: the small ones)")
    parser.add_argument("--data-root")
    parser.add_argument("--steps", type=positive, default=24, help="steps of each run that are timed")
    parser.add_argument("--repeats", type=positive, default=3, help="runs of each")
    parser.add_argument("--pictures", type=positive, default=400, help="of each data set, read at most")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    FRESH.set_forkserver_preload(IMPORTED)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    wanted = [(preset, stage) for preset in options.presets for stage in _load(options, preset).stages
              if stage.objective in MEASURED]
    figures = []
    for preset, stage in wanted:
        figures.append(compare(options, preset, stage))
        print(told(figures[-1]), file=sys.stderr if options.json else sys.stdout, flush=True)  # minutes for each
    if options.json:
        print(json.dumps(figures))
    return 0 if any("ratio" in found for found in figures) else 2


def compare(options: argparse.Namespace, preset: str, stage: Stage) -> dict[str, Any]:
    """The figures of one stage: ours, peer (and longest, for texts), and the ratios of their speeds."""
    config = _load(options, preset)
    found: dict[str, Any] = {"preset": config.name, "stage": stage.name, "processor": platform.processor()}
    sides = ["ours", "peer"] + (["longest"] if config.recipe == "causal_lm" else [])
    try:
        found["losses"] = _apart(options, preset, stage, "same")
        turns = [{side: _apart(options, preset, stage, side) for side in sides} for _ in range(options.repeats)]
    except NarratorError as error:
        return {**found, "left_out": str(error)}
    for side in sides:
        found[side] = {name: statistics.median(turn[side][name] for turn in turns) for name in turns[0][side]}
    speeds = {side: found[side]["texts_per_s"] for side in sides}
    return {**found, "ratio": speeds["ours"] / speeds["peer"],
            **({"ratio_longest": speeds["ours"] / speeds["longest"]} if "longest" in sides else {})}


def told(found: dict[str, Any]) -> str:
    """The figures of one stage as a person reads them."""
    name = f"{found['preset']}, {found['stage']}"
    if "left_out" in found:
        return f"{name}: left out. {found['left_out']}"
    lines = [f"{name}: {found['ratio']:.2f} times as fast as the peer"]
    for side in ("ours", "peer", "longest"):
        if side in found:
            one = found[side]
            lines.append(f"  {side:8} {one['texts_per_s']:9.1f} texts/s  {one['peak_bytes'] / 2**20:7,.0f} MB at most"
                         + (f"  after {one['prepared_s']:.1f} s of preparation" if side == "ours" else ""))
    return "\n".join(lines)


def one_side(options: argparse.Namespace, preset: str, stage_name: str, side: str) -> dict[str, float]:
    """Measure one side in this process: same, ours, peer or longest. Raises SystemExit when the two do not compute the
    same loss."""
    from transformers import set_seed

    sys.stdout = sys.stderr  # what libraries print is no figure
    multiprocessing.set_start_method(None, force=True)  # readers of pictures begin as a script's own would
    config = _load(options, preset)
    stage = dataclasses.replace(next(one for one in config.stages if one.name == stage_name), evaluations=1)
    config = dataclasses.replace(config, stages=[stage], curriculum=0.0, text=[], data=[
        dataclasses.replace(source, limit=min(options.pictures, source.limit or options.pictures))
        for source in config.data])
    set_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(config, resolve_data_root(options.data_root), Path(folder), options.steps + WARM)
        if side == "same":
            return bench.same()
        return bench.ours() if side == "ours" else bench.peer(longest=side == "longest")


class Bench:
    """One stage with its recipe and model, to be trained for some steps one way or the other."""

    def __init__(self, config: TrainingConfig, root: Path, folder: Path, steps: int) -> None:
        import torch

        from trainer.recipes import recipe_class

        self.config, self.folder, self.steps, self.stage = config, folder, steps, config.stages[0]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.recipe = recipe_class(config.recipe)(config, root, folder, self.device)
        self.model = self.recipe.prepare()[0].to(self.device)

    def ours(self) -> dict[str, float]:
        """As `trainer run` trains, its events and its log for TensorBoard included."""
        from transformers import EarlyStoppingCallback

        from trainer.events import EventLog
        from trainer.run import Run
        from trainer.stages import StageTrainer

        began = time.perf_counter()
        dataset = self.recipe.dataset(self.stage, self.model.eval(), lambda done, total: None)
        prepared = time.perf_counter() - began
        with EventLog(self.folder / "events.jsonl") as events:
            run = Run(folder=self.folder, config=self.config, recipe=self.recipe, dev={}, events=events,
                      device=self.device, total=self.steps)
            trainer = StageTrainer(run, self.stage, self.model, dataset)
            trainer.remove_callback(EarlyStoppingCallback)
            for name, value in (("eval_strategy", "no"), ("save_strategy", "no"), ("load_best_model_at_end", False),
                                ("max_steps", self.steps)):
                setattr(trainer.args, name, value)
            return {**self._timed(trainer, self._texts(dataset) * self.stage.batch_size), "prepared_s": prepared}

    def peer(self, *, longest: bool) -> dict[str, float]:
        """As a plain script trains."""
        from transformers import Trainer, TrainingArguments

        from benchmarks.training_peers import peer_of

        self.recipe.parameter_groups(self.model, self.stage)  # freezes what does not learn
        found = peer_of(self.recipe, self.stage, self.model, longest=longest)
        gpu = self.device.type == "cuda"
        bf16 = bool(self.recipe.autocast()._enabled)  # the same precision on both sides
        arguments = TrainingArguments(
            output_dir=str(self.folder), max_steps=self.steps, per_device_train_batch_size=found.batch_size,
            learning_rate=self.stage.learning_rate, report_to="none", save_strategy="no", disable_tqdm=True,
            use_cpu=not gpu, bf16=bf16, remove_unused_columns=False, dataloader_pin_memory=gpu,
            dataloader_num_workers=self.config.workers if self.config.recipe == "encoder_decoder" else 0)
        trainer = Trainer(model=found.model, args=arguments, train_dataset=found.rows, data_collator=found.collate)
        return self._timed(trainer, found.batch_size)

    def same(self) -> dict[str, float]:
        """The losses of both on the same texts, without dropout, in float32."""
        import torch

        from benchmarks.training_same import same_losses

        self.recipe.config = dataclasses.replace(self.config, precision="fp32")
        self.model.eval()
        with torch.no_grad():
            ours, theirs = same_losses(self.recipe, self.stage, self.model)
        if abs(ours - theirs) > SAME * abs(theirs):
            raise SystemExit(f"The two do not learn the same: their losses on the same texts are {ours:.4f} and "
                             f"{theirs:.4f}.")
        return {"ours": ours, "peer": theirs}

    def _timed(self, trainer: Any, texts: float) -> dict[str, float]:
        """Texts a second, by the median step, and the most memory that this process ever held."""
        import torch
        from transformers import TrainerCallback

        ends: list[float] = []

        class Clock(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                ends.append(time.perf_counter())

        trainer.add_callback(Clock)
        trainer.train()
        spent = [after - before for before, after in zip(ends[WARM - 1:], ends[WARM:], strict=False)]
        peak = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else \
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {"texts_per_s": texts / statistics.median(spent), "peak_bytes": float(peak)}

    def _texts(self, dataset: Any) -> float:
        """Texts of an item, on average."""
        items = [dataset[row] for row in range(min(64, len(dataset)))]
        if not isinstance(items[0], dict):
            return 1.0
        counts = [len(item.get("captions") or item.get("pairs") or [item]) for item in items]
        return sum(counts) / len(counts)


def _apart(options: argparse.Namespace, preset: str, stage: Stage, side: str) -> dict[str, float]:
    """What one side measures in a process of its own, whose memory nothing else has used. NarratorError where the data
    or a base is not here."""
    with ProcessPoolExecutor(1, mp_context=FRESH) as process:
        return process.submit(one_side, options, preset, stage.name, side).result()


def _load(options: argparse.Namespace, preset: str) -> TrainingConfig:
    path = Path(preset)
    return load_config(path if path.suffix == ".yaml" else PRESETS / f"{preset}.yaml")


if __name__ == "__main__":
    raise SystemExit(main())
