"""What a stage tells while it learns: a line in events.jsonl a step, progress, checkpoints; and how it is stopped."""

from __future__ import annotations

import collections
import math
import os
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import TrainerCallback

from trainer import jobs, together
from trainer.config import Stage
from trainer.run import Run, show_progress

PROGRESS_S = 10.0  # seconds between two lines of progress
CLOCK = "seconds.txt"  # of a stage
WINDOW = 20  # steps that the speed is measured over
LINES = 10_000  # steps told of a run at most, about 2.5 MB: of a longer one every second, every third ...


class Watch(TrainerCallback):
    """Writes steps to events.jsonl, shows progress, and stops when asked to."""

    def __init__(self, run: Run, stage: Stage) -> None:
        self.run, self.stage, self.told, self.begun = run, stage, 0.0, (0, time.monotonic())
        self.before = seconds_of(run, stage)
        self.process = psutil.Process()
        self.ends: collections.deque[float] = collections.deque(maxlen=WINDOW + 1)  # of the last steps
        self.every = math.ceil(run.total / LINES) or 1
        self.asks_gpu = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remember where the clock started, for the time that is left."""
        self.run.in_step = True
        self.begun = (state.global_step, time.monotonic())
        self._rest()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock."""
        self._clock()
        self.run.in_step = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and leave when the run was asked to stop, in any of its processes."""
        self.ends.append(time.monotonic())
        self.run.stop = together.any_of(self.run.stop)
        if self.run.stop:
            control.should_save = control.should_training_stop = True
            control.should_evaluate = args.load_best_model_at_end = False  # neither is waited for: see `catch_up`

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """One event a step, or of a very long run every so many steps, with the first and the last."""
        if not logs or "loss" not in logs:
            return
        step = self.run.offset + state.global_step
        if step % self.every == 0 or step == 1 or state.global_step == state.max_steps or self.run.stop:
            self.run.events.append("step", stage=self.stage.name, step=step, total_steps=self.run.total,
                                   loss=_short(logs["loss"]), learning_rate=_short(logs.get("learning_rate")),
                                   grad_norm=_short(logs.get("grad_norm"), 5), **self._pace())
        if time.monotonic() - self.told > PROGRESS_S:
            self.told = time.monotonic()
            first, since = self.begun
            left = (self.told - since) / max(1, state.global_step - first) * (state.max_steps - state.global_step)
            show_progress(f"{self.stage.name}: loss {logs['loss']:.3f}, {left / 60:.0f} min left, step",
                          state.global_step, state.max_steps)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Time spent on describing is not time spent on learning."""
        self._rest()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the checkpoint, once it would outlive the machine, and the time."""
        if together.is_first():
            _settle(self.run.home(self.stage) / f"checkpoint-{state.global_step}")
        together.wait()  # the best checkpoint may be read by all of them next
        self._clock()
        self.run.events.append("checkpoint", checkpoint=True, stage=self.stage.name,
                               step=self.run.offset + state.global_step)
        self._rest()

    def _pace(self) -> dict[str, Any]:
        """examples_per_s over the last steps, memory_bytes (resident) and gpu_bytes (held) of this process;
        gpu_percent: the share of time in which the GPU worked lately, for whomever, where its driver tells."""
        told: dict[str, Any] = {}
        if len(self.ends) > 1:
            steps, spent = len(self.ends) - 1, self.ends[-1] - self.ends[0]
            told["examples_per_s"] = float(f"{steps * self.stage.batch_size / max(spent, 1e-9):.4g}")
        told["memory_bytes"] = self.process.memory_info().rss
        if torch.cuda.is_available():
            told["gpu_bytes"] = torch.cuda.memory_reserved()
            told |= self._gpu_percent()
        return told

    def _gpu_percent(self) -> dict[str, int]:
        """NVML's figure; {} where its Python binding (nvidia-ml-py) is not there, or the driver does not tell: that is
        asked for once."""
        if self.asks_gpu:
            try:
                import pynvml
            except ImportError:
                self.asks_gpu = False
                return {}
            try:
                return {"gpu_percent": int(torch.cuda.utilization())}
            except (pynvml.NVMLError, RuntimeError):
                self.asks_gpu = False
        return {}

    def _rest(self) -> None:
        """Measure the speed anew from here."""
        self.ends.clear()
        self.ends.append(time.monotonic())

    def _clock(self) -> None:
        if together.is_first():
            spent = self.before + time.monotonic() - self.begun[1]
            jobs.write_whole(self.run.home(self.stage) / CLOCK, f"{spent:.1f}\n")


def seconds_of(run: Run, stage: Stage) -> float:
    """How long the stage has been trained, over all the times that it was taken up."""
    try:
        return float((run.home(stage) / CLOCK).read_text())
    except (OSError, ValueError):
        return 0.0


def _settle(folder: Path) -> None:
    """Wait until the files of a folder are on the disk itself."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _short(value: float | None, digits: int = 8) -> float | None:
    """As many digits as float32 has, so that a long run stays readable."""
    return None if value is None else float(f"{value:.{digits}g}")
