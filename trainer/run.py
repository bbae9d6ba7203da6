"""What the stages of one training run share, and how a run is stopped."""

import contextlib
import dataclasses
import math
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from narrator.records import Example, NarratorError
from trainer import together
from trainer.config import Stage, TrainingConfig
from trainer.events import EventLog
from trainer.signals import heard_by
from trainer.together import Stopped

if TYPE_CHECKING:
    from trainer.samples import Samples  # torch

__all__ = ["Run", "Silent", "Stopped", "check_shared", "evaluations_of", "show_progress", "stage_steps",
           "steps_between", "stop_on_signals"]


class Silent:
    """Takes the events of a process that is not the first, which writes none."""

    def append(self, event: str, *, checkpoint: bool = False, **fields: Any) -> None:
        """As `EventLog.append`, without a file."""


@dataclasses.dataclass(kw_only=True)
class Run:
    """What the stages of one run share."""

    folder: Path
    config: TrainingConfig
    recipe: Any
    dev: dict[str, list[Example]]  # all with a picture
    events: EventLog | Silent
    device: Any  # a torch.device
    samples: "Samples | None" = None  # until the model is there
    stage: Stage | None = None  # that is being worked on
    offset: int = 0  # steps of the stages before this one
    total: int = 0  # steps of all stages
    stop: bool = False
    in_step: bool = False  # in a step of the training, or in what must not be torn: a stop waits for its end

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

    def check(self) -> None:
        """Raises Stopped when the run was asked to stop. One of several processes goes on to where they agree on it."""
        if self.stop and together.count() == 1:
            raise Stopped


def check_shared(config: TrainingConfig) -> None:
    """Raise NarratorError for a stage whose batches cannot be dealt out evenly to the processes of the run."""
    count = together.count()
    for stage in config.stages:
        if stage.batch_size % count:
            sizes = {stage.batch_size // count * count, -(-stage.batch_size // count) * count} - {0}
            raise NarratorError(f"The batch_size {stage.batch_size} of the stage '{stage.name}' cannot be dealt out to "
                                f"{count} processes: set it to {' or '.join(map(str, sorted(sizes)))}.")


def stage_steps(stage: Stage, recipe: Any) -> int:
    """Steps of a stage, `steps` at most; where its evaluations are counted, a whole number for each of them."""
    size = recipe.size(stage)
    steps = math.ceil(size / stage.batch_size) * stage.epochs if size else 0
    parts = 1 if stage.evaluate_every else stage.evaluations
    whole = max(1, round(steps / parts)) * parts if steps else 0
    return min(whole, stage.steps or whole)


def steps_between(stage: Stage, steps: int) -> int:
    """Steps from one evaluation of the stage to the next one, which is at its end if there are fewer left."""
    return max(1, min(steps, stage.evaluate_every or math.ceil(steps / stage.evaluations)))


def evaluations_of(stage: Stage, steps: int) -> int:
    """How many evaluations a stage of so many steps has."""
    return math.ceil(steps / steps_between(stage, steps))


@contextlib.contextmanager
def stop_on_signals(run: Run) -> Iterator[None]:
    """SIGTERM and Ctrl-C ask the run to stop after its step, with a checkpoint; a second Ctrl-C ends it at once.

    Between the steps, where there is nothing to lose, they raise Stopped wherever the run is: reading, evaluating ...
    """
    def ask(number: int, frame: FrameType | None) -> None:
        if run.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        run.stop = True
        if together.is_first():
            print("Stopping after this step, with a checkpoint ...", file=sys.stderr, flush=True)
        if not run.in_step and together.count() == 1:
            raise Stopped

    with heard_by(ask):
        yield


def show_progress(what: str, done: int, total: int) -> None:
    """A line on standard error, of the first process."""
    if together.is_first():
        print(f"{what} {done:,} of {total:,}", file=sys.stderr, flush=True)
