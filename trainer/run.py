"""What the stages of one training run share, and how a run is stopped."""

import dataclasses
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from narrator.records import Example
from trainer.config import Stage, TrainingConfig
from trainer.events import EventLog


class Stopped(Exception):
    """The run was asked to stop; its last checkpoint is where it goes on."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """What the stages of one run share."""

    folder: Path
    config: TrainingConfig
    recipe: Any
    dev: dict[str, list[Example]]  # all with a picture
    events: EventLog
    device: Any  # a torch.device
    offset: int = 0  # steps of the stages before this one
    total: int = 0  # steps of all stages
    stop: bool = False

    def home(self, stage: Stage) -> Path:
        """The folder of a stage: its checkpoints, its best weights, and stage.json once it is over."""
        return self.folder / "stages" / stage.name

    def tell(self, what: str) -> Callable[[int, int], None]:
        """Shows progress, and is where a run stops between the steps."""
        def progress(done: int, total: int) -> None:
            if self.stop:
                raise Stopped
            show_progress(what, done, total)

        return progress


def stage_steps(stage: Stage, recipe: Any) -> int:
    """Steps of a stage: a whole number for each evaluation."""
    size = recipe.size(stage)
    steps = math.ceil(size / stage.batch_size) * stage.epochs if size else 0
    return max(1, round(steps / stage.evaluations)) * stage.evaluations if steps else 0


class stop_on_signals:
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


def show_progress(what: str, done: int, total: int) -> None:
    """A line on standard error."""
    print(f"{what} {done:,} of {total:,}", file=sys.stderr, flush=True)
