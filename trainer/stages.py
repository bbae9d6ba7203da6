"""One stage of a run: a transformers.Trainer with the recipe's loss, that goes on where it broke off."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from trainer import jobs
from trainer.config import Stage
from trainer.evaluation import plain
from trainer.recipes import RECIPES
from trainer.run import Run, Stopped, show_progress, stage_steps

PROGRESS_S = 10.0  # seconds between two lines of progress
CLOCK = "seconds.txt"  # of a stage


def learn(run: Run, stage: Stage, model: Any, steps: int) -> Any:
    """The model with the best weights of the stage. A stage that had come to its end is not begun again."""
    home = run.home(stage)
    ended, checkpoint = home / "ended.json", _last_whole_checkpoint(home)
    if not ended.exists() and _step_of(checkpoint) < steps:
        model.eval()
        dataset = run.recipe.dataset(stage, model, run.tell(f"{stage.name}: features"))
        trainer = StageTrainer(run, stage, model, dataset)
        trainer.train(resume_from_checkpoint=checkpoint)
        if run.stop:
            raise Stopped
        jobs.write_whole(ended, json.dumps({"best": trainer.state.best_model_checkpoint}) + "\n")
        return model
    best = json.loads(ended.read_text())["best"] if ended.exists() else _state(checkpoint)["best_model_checkpoint"]
    return run.recipe.load(home / Path(best or checkpoint or home).name).to(run.device)


def _state(checkpoint: str | None) -> dict[str, Any]:
    if checkpoint is None:
        return {"global_step": -1, "best_model_checkpoint": None}
    state: dict[str, Any] = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))
    return state


def _step_of(checkpoint: str | None) -> int:
    return int(_state(checkpoint)["global_step"])


def seconds_of(home: Path) -> float:
    """How long the stage has been trained, over all the times that it was taken up."""
    try:
        return float((home / CLOCK).read_text())
    except (OSError, ValueError):
        return 0.0


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
        """The recipe's scores of the dev sets, greedily; best-kept and early stopping go by `eval_score`."""
        run = self.run_
        with run.recipe.autocast():
            scores = run.recipe.evaluate(self.model, run.dev, beams=1, intervals=False, tell=lambda done, total: None)
        metrics = {"eval_score": run.recipe.overall(scores, run.dev)}
        step = run.offset + self.state.global_step
        run.events.append("evaluation", stage=self.stage.name, step=step, score=metrics["eval_score"],
                          scores=plain(scores))
        shown = list(RECIPES[run.config.recipe].shown.items())[:2]
        told = [" ".join([name, *(f"{title} {found[metric].value:.3f}" for metric, title in shown)])
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
        load_best_model_at_end=pictures, metric_for_best_model="eval_score", greater_is_better=True,
        dataloader_num_workers=run.config.workers if stage.train_encoder else 0, remove_unused_columns=False,
        restore_callback_states_from_checkpoint=True, disable_tqdm=True, use_cpu=not gpu, dataloader_pin_memory=gpu)


class Watch(TrainerCallback):
    """Writes every step to events.jsonl, shows progress, and stops when asked to."""

    def __init__(self, run: Run, stage: Stage) -> None:
        self.run, self.stage, self.told, self.begun = run, stage, 0.0, (0, time.monotonic())
        self.before = seconds_of(run.home(stage))

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember where the clock started, for the time that is left."""
        self.begun = (state.global_step, time.monotonic())

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock."""
        self._clock()

    def _clock(self) -> None:
        spent = self.before + time.monotonic() - self.begun[1]
        jobs.write_whole(self.run.home(self.stage) / CLOCK, f"{spent:.1f}\n")

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
                show_progress(f"{self.stage.name}: loss {logs['loss']:.3f}, {left / 60:.0f} min left, step",
                              state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the checkpoint, and the time."""
        self._clock()
        self.run.events.append("checkpoint", checkpoint=True, stage=self.stage.name,
                               step=self.run.offset + state.global_step)
