"""Checkpoints of a stage: the one to go on from, what its state says, and the evaluation that a stop left out."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer import jobs, together

STATE = "trainer_state.json"  # transformers writes it last


def last_whole_checkpoint(home: Path) -> Path | None:
    """The newest checkpoint that was saved to its end; what a kill, a full disk or a power cut left of a save is
    removed."""
    whole: dict[int, Path] = {}
    for checkpoint in home.glob("checkpoint-*"):
        try:
            step = int(json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["global_step"])
        except (OSError, ValueError, KeyError, TypeError):
            step = -1
        if step < 0 or not _uncut(checkpoint):
            shutil.rmtree(checkpoint)
        else:
            whole[step] = checkpoint
    return whole[max(whole)] if whole else None


def _uncut(checkpoint: Path) -> bool:
    """Whether weights, optimiser and random numbers are as long as they say."""
    from safetensors import SafetensorError, safe_open

    try:
        for weights in checkpoint.glob("*.safetensors"):
            with safe_open(weights, "numpy"):  # refuses what is shorter than its header says
                pass
    except (OSError, SafetensorError):
        return False
    return all(zipfile.is_zipfile(saved) for kind in ("*.pt", "*.pth") for saved in checkpoint.glob(kind))


def state_of(checkpoint: Path | None) -> dict[str, Any]:
    """transformers' TrainerState of a checkpoint; that of a stage which has not begun when there is none."""
    if checkpoint is None:
        return {"global_step": -1, "best_model_checkpoint": None, "log_history": [], "stateful_callbacks": {}}
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def owes_evaluation(state: Mapping[str, Any], every: int, steps: int) -> bool:
    """Whether the run was stopped after the step of an evaluation, and before that evaluation was over."""
    step = state["global_step"]
    due = step > 0 and (step % every == 0 or step >= steps)
    return due and not any(row.get("step") == step and "eval_score" in row for row in state["log_history"])


def is_over(state: Mapping[str, Any], steps: int, patience: int) -> bool:
    """Whether the stage has all its steps, or was ended early after `patience` evaluations without a better one."""
    early = state["stateful_callbacks"].get("EarlyStoppingCallback", {}).get("attributes", {})
    return state["global_step"] >= steps or early.get("early_stopping_patience_counter", 0) >= patience


def catch_up(trainer: Any, checkpoint: Path) -> dict[str, Any]:
    """Make the evaluation that the checkpoint owes, and write it down there as if it had been made in its time; the
    state that follows. trainer: a transformers.Trainer, which has not begun."""
    from transformers import TrainerState
    from transformers.trainer_callback import ExportableState

    trainer.state = TrainerState.load_from_json(str(checkpoint / STATE))
    trainer._load_callback_state()
    trainer._load_from_checkpoint(str(checkpoint))
    if trainer._determine_best_metric(trainer.evaluate(), None):
        trainer.state.best_model_checkpoint = str(checkpoint)
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ExportableState):
            trainer.state.stateful_callbacks[type(callback).__name__] = callback.state()
    if together.is_first():
        part = checkpoint / f".{STATE}.part"
        trainer.state.save_to_json(str(part))
        jobs.write_whole(checkpoint / STATE, part.read_text(encoding="utf-8"))
        part.unlink()
    together.wait()
    return state_of(checkpoint)
