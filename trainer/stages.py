"""One stage of a run: a transformers.Trainer with the recipe's loss, that goes on where it broke off."""

import contextlib
import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, Trainer, TrainingArguments

from narrator.processes import end_with
from narrator.records import Score
from trainer import jobs, together
from trainer.checkpoints import catch_up, is_over, last_whole_checkpoint, owes_evaluation, state_of
from trainer.config import Stage
from trainer.draws import Batches, Epochs, as_made
from trainer.evaluation import by_metric, plain
from trainer.recipes import RECIPES
from trainer.recipes.lora import check_adapter
from trainer.recipes.saving import check_whole, to_keep
from trainer.run import Run, Stopped, stage_steps, steps_between
from trainer.watch import Watch

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}  # as transformers calls them


def learn(run: Run, stage: Stage, model: Any, steps: int) -> Any:
    """The model with the best weights of the stage. A stage that had come to its end is not begun again."""
    home = run.home(stage)
    ended, checkpoint = home / "ended.json", together.first(lambda: last_whole_checkpoint(home))
    state = state_of(checkpoint)
    owes = stage.objective != "language" and owes_evaluation(state, steps_between(stage, steps), steps)
    if not ended.exists() and (owes or not is_over(state, steps, stage.patience)):
        model.eval()
        with together.ahead():
            dataset = run.recipe.dataset(stage, model, run.tell(f"{stage.name}: features"))
            run.recipe.go_on(run.offset + max(0, state["global_step"]))
        run.recipe.spare(model)
        trainer = StageTrainer(run, stage, model, dataset)
        if owes and checkpoint is not None:
            state = catch_up(trainer, checkpoint)
        if not is_over(state, steps, stage.patience):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if together.any_of(run.stop):
                raise Stopped
            if together.is_first():
                jobs.write_whole(ended, json.dumps({"best": trainer.state.best_model_checkpoint}) + "\n")
            together.wait()
            if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
                return model
            checkpoint = last_whole_checkpoint(home)  # each process held a part of the model: the whole is on disk
    best = json.loads(ended.read_text())["best"] if ended.exists() else state["best_model_checkpoint"]
    return run.recipe.load(home / Path(best or checkpoint or home).name).to(run.device)


class StageTrainer(Trainer):
    """transformers' Trainer with the recipe's loss, parameter groups and evaluation."""

    optimizer: Any
    control: Any

    def __init__(self, run: Run, stage: Stage, model: Any, dataset: Any) -> None:
        self.run_, self.stage = run, stage
        self.batches = batches = Batches(dataset, run.recipe.collate, run.config.seed,
                                         late=run.config.curriculum > 0)
        super().__init__(model=model, args=_arguments(run, stage), train_dataset=batches, eval_dataset=batches,
                         data_collator=as_made, callbacks=[Watch(run, stage), Epochs(batches)])
        if stage.objective != "language":
            self.add_callback(EarlyStoppingCallback(stage.patience))
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over the recipe's groups."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self.run_.recipe.parameter_groups(self.model, self.stage), fused=True)
        return self.optimizer

    def get_train_dataloader(self) -> DataLoader:
        """Its workers leave signals to the run: Ctrl-C in a terminal, as some service managers do, signals them all."""
        loader = super().get_train_dataloader()
        begins = getattr(loader, "base_dataloader", loader)  # accelerate wraps what makes the workers
        if begins.num_workers and sys.platform == "linux":  # children of this process, with which they end
            begins.multiprocessing_context = "fork"
        begins.worker_init_fn = functools.partial(_begin_worker, begins.worker_init_fn, os.getpid())
        return loader

    def train(self, *arguments: Any, **more: Any) -> Any:
        """The stage's steps; of the processes that read for them none is left, also where one hangs in a file."""
        try:
            return super().train(*arguments, **more)
        finally:
            end_readers()

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """A checkpoint under the names that the model's weights have. save_pretrained would write those of the Hub, and
        transformers goes by the model's when it resumes, or takes the best weights: what it did not find would stay as
        it was (huggingface/transformers issue 43701)."""
        if self.args.should_save:
            model = self.accelerator.unwrap_model(self.model)
            model.save_pretrained(output_dir or self.args.output_dir, save_original_format=False,
                                  state_dict=to_keep(model, self.run_.recipe.kept, state_dict))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Go on with the weights of a checkpoint; NarratorError where they are not whole."""
        whole = self.accelerator.unwrap_model(self.model if model is None else model)
        if isinstance(whole, PeftModel) and not self.is_fsdp_enabled:
            check_adapter(whole, Path(resume_from_checkpoint))  # transformers takes them for whole
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        whole = self.accelerator.unwrap_model(self.model)
        if isinstance(whole, PeftModel) and not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            check_adapter(whole, Path(str(self.state.best_model_checkpoint)))
        super()._load_best_model()

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Whole weights fit the model or are refused: NarratorError where some have no place, or are missing."""
        check_whole(self.accelerator.unwrap_model(self.model), load_result, self.run_.recipe.kept)

    def _prepare_inputs(self, inputs: Any) -> Any:
        """The batch, on the device."""
        return super()._prepare_inputs(self.batches.made(inputs))

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> torch.Tensor:
        """The recipe's loss for this stage."""
        recipe = self.run_.recipe
        if together.count() == 1:
            loss: torch.Tensor = recipe.loss(model, inputs, self.stage)
            return loss
        part = together.share(recipe.weight(inputs, self.stage))
        with _as_forward(self.accelerator.unwrap_model(model),
                         lambda whole: recipe.loss(whole, inputs, self.stage) * part):
            loss = model()
        return loss

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The recipe's scores of the dev sets, greedily; best-kept and early stopping go by `eval_score`.

        A stop does not wait for them: the steps are kept in a checkpoint, and `catch_up` evaluates it later. Of several
        processes every one evaluates, since each may hold a part of the model, to the end; what the first finds counts.
        """
        run = self.run_
        try:
            run.in_step = False
            run.check()
            with run.recipe.autocast(), torch.random.fork_rng():  # the training draws on as if nobody had looked
                scores = run.recipe.evaluate(self.model, run.dev, beams=1, intervals=False,
                                             tell=lambda done, total: run.check())
                samples = run.samples.spoken(run.recipe.speaker(self.model)) if run.samples else []
        except Stopped:
            run.in_step = True
            if self.is_in_train:
                self._save_checkpoint(self.model, None)
                self.callback_handler.on_save(self.args, self.state, self.control)
            raise
        finally:
            run.in_step = self.is_in_train
        metrics = {"eval_score": together.first(lambda: self._overall(scores))}
        step = run.offset + self.state.global_step
        run.events.append("evaluation", stage=self.stage.name, step=step, scores=plain(scores), samples=samples,
                          **self._judged(scores, metrics["eval_score"]))
        shown = list(RECIPES[run.config.recipe].shown.items())[:2]
        told = [" ".join([name, *(f"{title} {found[metric].value:.3f}" for metric, title in shown if metric in found)])
                for name, found in scores.items()]
        if together.is_first():
            print(f"{self.stage.name}: step {step:,}, {', '.join(told)}", file=sys.stderr, flush=True)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _overall(self, scores: dict[str, dict[str, Score]]) -> float:
        """One figure, higher is better: of the stage's `metric`, else the recipe's own."""
        run, metric = self.run_, self.stage.metric
        return by_metric(scores, run.dev, metric) if metric else float(run.recipe.overall(scores, run.dev))

    def _judged(self, scores: dict[str, dict[str, Score]], score: float) -> dict[str, Any]:
        """What chose the best weights: score (higher is better), best_score of the stage, best (whether it is this),
        metric (its name), value (as it is read: of a loss, lower is better) and higher_is_better."""
        before = self.state.best_metric
        best = before is None or score > before
        key, title = judged_by(self.run_, self.stage)
        higher = all(found[key].higher_is_better for found in scores.values() if key in found)
        return {"score": score, "best": best, "best_score": score if best else before, "metric": title,
                "value": score if higher else -score, "higher_is_better": higher}


def end_readers() -> None:
    """End the processes that read for this one. torch, told of their end, would raise wherever the run is by then."""
    told = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if told else None
    for reader in multiprocessing.active_children():
        reader.kill()
        reader.join()
    if told:
        signal.signal(signal.SIGCHLD, before)


def _begin_worker(seed: Callable[[int], None] | None, run: int, number: int) -> None:
    """In a worker. seed: what would be called there otherwise. run: the process that it reads for, and ends with."""
    end_with(run)
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_, signal.SIG_IGN)
    if seed is not None:
        seed(number)


def judged_by(run: Run, stage: Stage) -> tuple[str, str]:
    """(the score that chooses the best weights of the stage, its name as people know it)."""
    shown = RECIPES[run.config.recipe].shown
    key = stage.metric or run.recipe.judged_by or next(iter(shown))
    return key, shown[key]


@contextlib.contextmanager
def _as_forward(model: Any, compute: Any) -> Iterator[None]:
    """The next call of the model, through whatever wraps it for several processes, is `compute(model)`: wrappers
    gather gradients only of what runs inside their `forward`. The calls inside it are the model's own."""
    own = model.__dict__.get("forward")

    def once() -> Any:
        restore()
        return compute(model)

    def restore() -> None:
        model.__dict__.pop("forward", None)
        if own is not None:
            model.forward = own

    model.forward = once
    try:
        yield
    finally:
        restore()


def _arguments(run: Run, stage: Stage) -> TrainingArguments:
    """The stage's settings in transformers' words. Without pictures there is nothing to evaluate on: the last is
    kept."""
    steps, pictures, gpu = stage_steps(stage, run.recipe), stage.objective != "language", torch.cuda.is_available()
    every = steps_between(stage, steps)
    shared = {} if together.count() == 1 else {  # each batch is dealt out: the same steps as in one process
        "accelerator_config": {"split_batches": True}, "ddp_find_unused_parameters": True}
    return TrainingArguments(
        output_dir=str(run.home(stage)), max_steps=steps, per_device_train_batch_size=stage.batch_size,
        learning_rate=stage.learning_rate, lr_scheduler_type=SCHEDULERS[stage.schedule],
        warmup_steps=round(steps * stage.warmup),
        max_grad_norm=stage.max_grad_norm, seed=run.config.seed, logging_steps=1, logging_nan_inf_filter=False,
        report_to=["tensorboard"], eval_strategy="steps" if pictures else "no", eval_steps=every,
        save_strategy="steps", save_steps=every, save_total_limit=2,
        load_best_model_at_end=pictures, metric_for_best_model="eval_score", greater_is_better=True,
        dataloader_num_workers=run.config.workers if stage.train_encoder else 0, remove_unused_columns=False,
        restore_callback_states_from_checkpoint=True, disable_tqdm=True, use_cpu=not gpu, dataloader_pin_memory=gpu,
        **shared)
