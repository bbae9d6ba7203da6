"""One loop for all recipes: stages in order, each a run of transformers.Trainer that goes on where it broke off."""

import contextlib
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import set_seed

from narrator.records import NarratorError
from trainer import before, jobs, together
from trainer.checkpoints import last_whole_checkpoint, state_of
from trainer.config import Stage, TrainingConfig
from trainer.evaluation import plain
from trainer.events import EventLog
from trainer.failures import disk_full, disk_sentence, memory_sentence, out_of_memory
from trainer.publishing import publish
from trainer.recipes import recipe_class
from trainer.recipes.saving import to_keep
from trainer.run import Run, Silent, Stopped, check_shared, stage_steps, stop_on_signals
from trainer.samples import begin as begin_samples
from trainer.stages import learn
from trainer.watch import seconds_of

RESERVE, RESERVE_BYTES = ".reserve", 1 << 16  # kept on the disk, so that a full one can still be told


def run_job(folder: Path, config: TrainingConfig, root: Path, out: Path, *, strict: bool = False) -> Path:
    """Train from where the folder stands to the end; the variant's folder. NarratorError for what a person can mend.

    In several processes (see trainer.together) each calls this; the first one holds the job and writes.
    """
    folder = folder.resolve()  # checkpoints name each other by path: the same from wherever the run is resumed
    check_shared(config)
    with _held(folder) as events:
        run = Run(folder=folder, config=config, recipe=None, dev={}, events=events, device=_device())
        try:
            _begin(run, root, strict)
            with stop_on_signals(run):
                return _train(run, out)
        except Stopped:
            events.append("stopped", checkpoint=True)
            raise
        except NarratorError as error:
            _failed(run, error)
            raise
        except (RuntimeError, MemoryError, OSError, ValueError, SafetensorError) as error:
            raise NarratorError(_failed(run, error)) from error
        finally:
            (folder / RESERVE).unlink(missing_ok=True)
            together.part()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[EventLog | Silent]:
    """The job, held by the first process, and its events."""
    with contextlib.ExitStack() as stack:
        def hold() -> None:
            stack.enter_context(jobs.hold_job(folder))

        together.first(hold)
        yield stack.enter_context(EventLog(folder / "events.jsonl")) if together.is_first() else Silent()


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", together.local_number()) if together.count() > 1 else torch.device("cuda")


def _begin(run: Run, root: Path, strict: bool) -> None:
    config = run.config
    if together.is_first():
        (run.folder / RESERVE).write_bytes(bytes(RESERVE_BYTES))
    run.events.append("started", device=str(run.device), torch=torch.__version__,
                      transformers=transformers.__version__, processes=together.count())
    with together.ahead():
        run.recipe = recipe_class(config.recipe)(config, root, run.folder, run.device, strict=strict)
        run.dev = {source.path: run.recipe.read_dev(source, strict=strict)[:config.eval_limit]
                   for source in config.dev}
    run.total = sum(stage_steps(stage, run.recipe) for stage in config.stages)


def _failed(run: Run, error: BaseException) -> str:
    """Write down why the run broke off; the sentence."""
    (run.folder / RESERVE).unlink(missing_ok=True)  # room for what is to be told on a full disk
    message = str(error)
    if out_of_memory(error):
        message = memory_sentence(run.config, run.stage, str(run.device))
    elif disk_full(error):
        message = disk_sentence(run.folder, _kept(run))
    elif not isinstance(error, NarratorError):
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        message = (f"The run broke off ({reason}). {run.folder / 'error.txt'} tells more; once mended, "
                   f"`python -m trainer resume {run.folder}` goes on from the last checkpoint.")
    if not isinstance(error, NarratorError):
        place = "error.txt" if together.is_first() else f"error-{together.number()}.txt"
        with contextlib.suppress(OSError):  # a full disk is told below all the same
            (run.folder / place).write_text(traceback.format_exc(), encoding="utf-8")
    with contextlib.suppress(NarratorError):
        run.events.append("failed", message=message)
    return message


def _kept(run: Run) -> int:
    """The step of the run's last whole checkpoint; what a full disk cut short is removed, which makes room."""
    if run.stage is None or not together.is_first():
        return run.offset
    return run.offset + max(0, int(state_of(last_whole_checkpoint(run.home(run.stage)))["global_step"]))


def _train(run: Run, out: Path) -> Path:
    set_seed(run.config.seed)
    model = run.recipe.prepare()[0]
    _first_samples(run, model)
    before.measure(run, model)
    for index, stage in enumerate(run.config.stages):
        run.stage = stage
        if not (run.home(stage) / "stage.json").exists():
            set_seed(run.config.seed + index)
            model = _stage(run, stage, model.to(run.device))
        else:
            model = run.recipe.load(run.home(stage) / "best").to(run.device)
        run.offset += stage_steps(stage, run.recipe)
    return together.first(lambda: publish(run, model, out))


def _first_samples(run: Run, model: Any) -> None:
    """The held-out examples that every evaluation shows, with the words of the weights that the run begins with; an
    evaluation of these alone tells them at step 0. Random weights have no words."""
    trained = run.config.base or run.config.decoder
    run.samples, new = together.first(
        lambda: begin_samples(run.folder, run.recipe, run.dev, model.to(run.device) if trained else None))
    if new:
        run.events.append("evaluation", stage=run.config.stages[0].name, step=0, score=None, scores={}, best=False,
                          samples=[{**row, "text": row["base"]} for row in run.samples.rows])


def _stage(run: Run, stage: Stage, model: Any) -> Any:
    """Train one stage, keep its best weights and scores, and return the model with them."""
    steps = stage_steps(stage, run.recipe)
    run.events.append("stage", stage=stage.name, objective=stage.objective, steps=steps, total_steps=run.total)
    if steps:
        model = run.recipe.finish(learn(run, stage, model, steps))
        run.recipe.forget()
        together.wait()  # before the next stage caches anew what is removed here
    together.first(lambda: _keep(run, stage, model, steps))
    return model


def _keep(run: Run, stage: Stage, model: Any, steps: int) -> None:
    """Measure what the stage has made, and keep it with its report."""
    home, scores = run.home(stage), {}
    if stage.objective != "language":
        with run.recipe.autocast():
            scores = plain(run.recipe.evaluate(model, run.dev, beams=run.config.eval_beams, intervals=True,
                                               tell=run.tell(f"{stage.name}: dev")))
    model.save_pretrained(home / "best", state_dict=to_keep(model, run.recipe.kept))
    report = {"name": stage.name, "objective": stage.objective, "steps": steps, "beams": run.config.eval_beams,
              "seconds": round(seconds_of(run, stage)), "scores": scores}
    run.events.append("stage_done", checkpoint=True, **report)
    jobs.write_whole(home / "stage.json", json.dumps(report, indent=2) + "\n")
