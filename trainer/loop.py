"""One loop for all recipes: stages in order, each a run of transformers.Trainer that goes on where it broke off."""

import dataclasses
import json
import math
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from narrator.records import Example, NarratorError
from trainer import jobs
from trainer.card import write_card
from trainer.config import Stage, TrainingConfig
from trainer.data import read_examples
from trainer.evaluation import evaluate, overall, plain
from trainer.events import EventLog
from trainer.recipes.encoder_decoder import EncoderDecoderRecipe

RECIPES = {"encoder_decoder": EncoderDecoderRecipe}
PROGRESS_S = 10.0  # seconds between two lines of progress


class Stopped(Exception):
    """The run was asked to stop, and left a checkpoint."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """What the stages of one run share."""

    folder: Path
    config: TrainingConfig
    recipe: Any
    dev: dict[str, list[Example]]
    events: EventLog
    offset: int = 0  # steps of the stages before this one
    total: int = 0  # steps of all stages
    stop: bool = False

    def home(self, stage: Stage) -> Path:
        """The folder of a stage: its checkpoints, its best weights, and stage.json once it is over."""
        return self.folder / "stages" / stage.name


def run_job(folder: Path, config: TrainingConfig, root: Path, out: Path, *, strict: bool = False) -> Path:
    """Train from where the folder stands to the end; the variant's folder. NarratorError for what a person can mend."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with jobs.hold_job(folder), EventLog(folder / "events.jsonl") as events:
        try:
            events.append("started", device=str(device))
            recipe = RECIPES[config.recipe](config, root, folder, device, strict=strict)
            dev = {source.path: read_examples(root / source.path, split=source.split, strict=strict)
                   for source in config.dev}
            dev = {name: examples[:config.eval_limit] for name, examples in dev.items()}
            run = Run(folder=folder, config=config, recipe=recipe, dev=dev, events=events)
            run.total = sum(stage_steps(stage, recipe) for stage in config.stages)
            with _stop_on_signals(run):
                return _train(run, device, out)
        except Stopped:
            events.append("stopped", checkpoint=True)
            raise
        except NarratorError as error:
            events.append("failed", message=str(error))
            raise
        except (RuntimeError, MemoryError, OSError, ValueError, SafetensorError) as error:
            (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            events.append("failed", message=reason)
            raise NarratorError(f"The run broke off ({reason}). {folder / 'error.txt'} tells more; once mended, "
                                f"`python -m trainer resume {folder}` goes on from the last checkpoint.") from error


def stage_steps(stage: Stage, recipe: Any) -> int:
    """Steps of a stage: a whole number for each evaluation."""
    size = recipe.size(stage)
    steps = math.ceil(size / stage.batch_size) * stage.epochs if size else 0
    return max(1, round(steps / stage.evaluations)) * stage.evaluations if steps else 0


def _train(run: Run, device: torch.device, out: Path) -> Path:
    set_seed(run.config.seed)
    model = run.recipe.prepare()[0]
    for index, stage in enumerate(run.config.stages):
        if not (run.home(stage) / "stage.json").exists():
            set_seed(run.config.seed + index)
            model = _stage(run, stage, model.to(device))
        else:
            model = run.recipe.load(run.home(stage) / "best").to(device)
        run.offset += stage_steps(stage, run.recipe)
    variant = run.recipe.save(model, out)
    scores = evaluate(run.recipe.saved(out, variant, device), run.dev, beams=run.config.eval_beams, intervals=True,
                      tell=lambda done, total: _progress("final: dev", done, total))
    write_card(run.folder, out, run.config, plain(scores))
    for folder, source in ((out, "."), (run.folder, str(out.resolve()))):  # the run's own says that it is done
        manifest = dataclasses.asdict(dataclasses.replace(variant, source=source))
        jobs.write_whole(folder / jobs.MANIFEST, yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True))
    run.events.append("done", checkpoint=True, variant=variant.id, folder=str(out))
    return out


def _stage(run: Run, stage: Stage, model: Any) -> Any:
    """Train one stage, keep its best weights and scores, and return the model with them."""
    home, steps, started = run.home(stage), stage_steps(stage, run.recipe), time.monotonic()
    run.events.append("stage", stage=stage.name, objective=stage.objective, steps=steps, total_steps=run.total)
    if steps:
        model.eval()
        dataset = run.recipe.dataset(stage, model,
                                     lambda done, total: _progress(f"{stage.name}: features", done, total))
        trainer = StageTrainer(run, stage, model, dataset)
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(home))
        if run.stop:
            raise Stopped
        run.recipe.forget()
    scores = {}
    if stage.objective != "language":
        with run.recipe.autocast():
            scores = plain(evaluate(run.recipe.family(model), run.dev, beams=run.config.eval_beams, intervals=True,
                                    tell=lambda done, total: _progress(f"{stage.name}: dev", done, total)))
    model.save_pretrained(home / "best")
    report = {"name": stage.name, "objective": stage.objective, "steps": steps, "beams": run.config.eval_beams,
              "seconds": round(time.monotonic() - started), "scores": scores}
    run.events.append("stage_done", checkpoint=True, **report)
    jobs.write_whole(home / "stage.json", json.dumps(report, indent=2) + "\n")
    return model


def _last_whole_checkpoint(home: Path) -> str | None:
    """The newest checkpoint that was saved to its end; what a kill in the middle of a save left is removed."""
    for checkpoint in home.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # transformers writes it last
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return get_last_checkpoint(str(home)) if home.is_dir() else None


class StageTrainer(Trainer):
    """transformers' Trainer with the recipe's loss, parameter groups and evaluation."""

    optimizer: Any
    control: Any

    def __init__(self, run: Run, stage: Stage, model: Any, dataset: Any) -> None:
        self.run_, self.stage = run, stage
        super().__init__(model=model, args=_arguments(run, stage), train_dataset=dataset, eval_dataset=dataset,
                         data_collator=run.recipe.collate, callbacks=[Watch(run, stage)])
        if stage.objective != "language":
            self.add_callback(EarlyStoppingCallback(stage.patience))
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the recipe's groups."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self.run_.recipe.parameter_groups(self.model, self.stage), fused=True)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> torch.Tensor:
        """The recipe's loss for this stage."""
        loss: torch.Tensor = self.run_.recipe.loss(model, inputs, self.stage)
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Greedy descriptions of the dev pictures, scored; best-kept and early stopping go by `eval_cider_d`."""
        run = self.run_
        with run.recipe.autocast():
            scores = evaluate(run.recipe.family(self.model), run.dev, beams=1, intervals=False)
        metrics = {"eval_cider_d": overall(scores, run.dev)}
        step = run.offset + self.state.global_step
        run.events.append("evaluation", stage=self.stage.name, step=step, cider_d=metrics["eval_cider_d"],
                          scores=plain(scores))
        told = [f"{name} CIDEr-D {found['cider_d'].value:.3f} BLEU-4 {found['bleu_4'].value:.3f}"
                for name, found in scores.items()]
        print(f"{self.stage.name}: step {step:,}, {', '.join(told)}", file=sys.stderr, flush=True)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _arguments(run: Run, stage: Stage) -> TrainingArguments:
    """The stage's settings in transformers' words. Without pictures there is nothing to evaluate on: the last is
    kept."""
    steps, pictures, gpu = stage_steps(stage, run.recipe), stage.objective != "language", torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(run.home(stage)), max_steps=steps, per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate, lr_scheduler_type="cosine", warmup_steps=round(steps * stage.warmup),
        max_grad_norm=stage.max_grad_norm, seed=run.config.seed, logging_steps=1, logging_nan_inf_filter=False,
        report_to=["tensorboard"], eval_strategy="steps" if pictures else "no", eval_steps=steps // stage.evaluations,
        save_strategy="steps", save_steps=steps // stage.evaluations, save_total_limit=2,
        load_best_model_at_end=pictures, metric_for_best_model="eval_cider_d", greater_is_better=True,
        dataloader_num_workers=run.config.workers if stage.train_encoder else 0, remove_unused_columns=False,
        disable_tqdm=True, use_cpu=not gpu, dataloader_pin_memory=gpu)


class Watch(TrainerCallback):
    """Writes every step to events.jsonl, shows progress, and stops when asked to."""

    def __init__(self, run: Run, stage: Stage) -> None:
        self.run, self.stage, self.told, self.begun = run, stage, 0.0, (0, time.monotonic())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember where the clock started, for the time that is left."""
        self.begun = (state.global_step, time.monotonic())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and leave when the run was asked to stop."""
        if self.run.stop:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """One event a step."""
        if logs and "loss" in logs:
            step = self.run.offset + state.global_step
            self.run.events.append("step", stage=self.stage.name, step=step, total_steps=self.run.total,
                                   loss=logs["loss"], learning_rate=logs.get("learning_rate"),
                                   grad_norm=logs.get("grad_norm"))
            if time.monotonic() - self.told > PROGRESS_S:
                self.told = time.monotonic()
                first, since = self.begun
                left = (self.told - since) / max(1, state.global_step - first) * (state.max_steps - state.global_step)
                _progress(f"{self.stage.name}: loss {logs['loss']:.3f}, {left / 60:.0f} min left in the stage, step",
                          state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the checkpoint."""
        self.run.events.append("checkpoint", checkpoint=True, stage=self.stage.name,
                               step=self.run.offset + state.global_step)


class _stop_on_signals:
    """SIGTERM and Ctrl-C ask the run to stop after its step, with a checkpoint; a second Ctrl-C ends it at once."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> None:
        self.before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.run.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.run.stop = True
        print("Stopping after this step, with a checkpoint ...", file=sys.stderr, flush=True)


def _progress(what: str, done: int, total: int) -> None:
    print(f"{what} {done:,} of {total:,}", file=sys.stderr, flush=True)
