"""One loop for all recipes: stages in order, each a run of transformers.Trainer that goes on where it broke off."""

import contextlib
import dataclasses
import json
import shutil
import traceback
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml
from safetensors import SafetensorError
from transformers import set_seed

from narrator.records import NarratorError, Variant
from trainer import jobs
from trainer.card import write_card
from trainer.config import Stage, TrainingConfig
from trainer.evaluation import plain
from trainer.events import EventLog
from trainer.recipes import recipe_class
from trainer.run import Run, Stopped, stage_steps, stop_on_signals
from trainer.stages import learn, seconds_of


def run_job(folder: Path, config: TrainingConfig, root: Path, out: Path, *, strict: bool = False) -> Path:
    """Train from where the folder stands to the end; the variant's folder. NarratorError for what a person can mend."""
    folder = folder.resolve()  # checkpoints name each other by path: the same from wherever the run is resumed
    with jobs.hold_job(folder), EventLog(folder / "events.jsonl") as events:
        try:
            run = _begin(folder, config, root, events, strict)
            with stop_on_signals(run):
                return _train(run, out)
        except Stopped:
            events.append("stopped", checkpoint=True)
            raise
        except NarratorError as error:
            events.append("failed", message=str(error))
            raise
        except (RuntimeError, MemoryError, OSError, ValueError, SafetensorError) as error:
            with contextlib.suppress(OSError):  # a full disk is told below all the same
                (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            with contextlib.suppress(NarratorError):
                events.append("failed", message=reason)
            raise NarratorError(f"The run broke off ({reason}). {folder / 'error.txt'} tells more; once mended, "
                                f"`python -m trainer resume {folder}` goes on from the last checkpoint.") from error


def _begin(folder: Path, config: TrainingConfig, root: Path, events: EventLog, strict: bool) -> Run:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    events.append("started", device=str(device), torch=torch.__version__, transformers=transformers.__version__)
    recipe = recipe_class(config.recipe)(config, root, folder, device, strict=strict)
    dev = {source.path: recipe.read_dev(source, strict=strict)[:config.eval_limit] for source in config.dev}
    run = Run(folder=folder, config=config, recipe=recipe, dev=dev, events=events, device=device)
    run.total = sum(stage_steps(stage, recipe) for stage in config.stages)
    return run


def _train(run: Run, out: Path) -> Path:
    set_seed(run.config.seed)
    model = run.recipe.prepare()[0]
    for index, stage in enumerate(run.config.stages):
        if not (run.home(stage) / "stage.json").exists():
            set_seed(run.config.seed + index)
            model = _stage(run, stage, model.to(run.device))
        else:
            model = run.recipe.load(run.home(stage) / "best").to(run.device)
        run.offset += stage_steps(stage, run.recipe)
    return _publish(run, model, out)


def _publish(run: Run, model: Any, out: Path) -> Path:
    """Save and score the variant in a hidden folder, and let it appear whole: the catalog takes no notice before."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    variant = run.recipe.save(model, part)
    scores = run.recipe.evaluate(run.recipe.saved(part, variant, run.device), run.dev, beams=run.config.eval_beams,
                                 intervals=True, tell=run.tell("final: dev"))
    out = free_folder(out)  # another run may have taken the name meanwhile
    write_card(run.folder, part, dataclasses.replace(run.config, name=out.name), plain(scores),
               run.recipe.report(part))
    _manifest(part, dataclasses.replace(variant, id=out.name))
    part.rename(out)
    _manifest(run.folder, dataclasses.replace(variant, id=out.name, source=str(out.resolve())))  # says: done
    run.events.append("done", checkpoint=True, variant=out.name, folder=str(out))
    return out


def free_folder(folder: Path) -> Path:
    """`folder`, or the next free folder-2, folder-3 ...: a new run never replaces a variant."""
    number, free = 2, folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def _manifest(folder: Path, variant: Variant) -> None:
    text = yaml.safe_dump(dataclasses.asdict(variant), sort_keys=False, allow_unicode=True)
    jobs.write_whole(folder / jobs.MANIFEST, text)


def _stage(run: Run, stage: Stage, model: Any) -> Any:
    """Train one stage, keep its best weights and scores, and return the model with them."""
    home, steps = run.home(stage), stage_steps(stage, run.recipe)
    run.events.append("stage", stage=stage.name, objective=stage.objective, steps=steps, total_steps=run.total)
    if steps:
        model = run.recipe.finish(learn(run, stage, model, steps))
        run.recipe.forget()
    scores = {}
    if stage.objective != "language":
        with run.recipe.autocast():
            scores = plain(run.recipe.evaluate(model, run.dev, beams=run.config.eval_beams, intervals=True,
                                               tell=run.tell(f"{stage.name}: dev")))
    model.save_pretrained(home / "best")
    report = {"name": stage.name, "objective": stage.objective, "steps": steps, "beams": run.config.eval_beams,
              "seconds": round(seconds_of(home)), "scores": scores}
    run.events.append("stage_done", checkpoint=True, **report)
    jobs.write_whole(home / "stage.json", json.dumps(report, indent=2) + "\n")
    return model
