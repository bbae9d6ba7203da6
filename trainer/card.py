"""The model card of a trained variant: data, licences, provenance, scores of every stage, and its command."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trainer import jobs
from trainer.config import TrainingConfig
from trainer.held_out import file_names
from trainer.jobs import PLACES
from trainer.recipes import RECIPES

DEV = "dev"  # the folder of held-out rows in a card's commands
Scores = dict[str, dict[str, dict[str, float]]]  # data set -> metric -> value, low, high
OF_THE_RUN = ("loss_captions",)  # figures of metrics.json that `narrator evaluate` does not measure


def write_card(run: Path, out: Path, config: TrainingConfig, final: Scores, more: str = "",
               base: Scores | None = None) -> None:
    """Write metrics.json and README.md to `out`. final: scores of the saved variant on each dev set. more: what the
    recipe adds, in Markdown. base: the scores of the weights that the run began with."""
    stages = [json.loads((run / "stages" / stage.name / "stage.json").read_text(encoding="utf-8"))
              for stage in config.stages]
    command = json.loads((run / PLACES).read_text(encoding="utf-8"))["command"]
    metrics = {"variant": config.name, "beams": config.eval_beams, "scores": final, "stages": stages,
               **({"base": base} if base else {})}
    jobs.write_whole(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    jobs.write_whole(out / "README.md", card(config, final, stages, command, more, base))


def card(config: TrainingConfig, final: Scores, stages: list[dict[str, Any]], command: str, more: str = "",
         base: Scores | None = None) -> str:
    """The card in Markdown, with the Hub's header. base: what the weights scored that the run began with."""
    kind = RECIPES[config.recipe]
    header = {"license": config.license, "pipeline_tag": kind.task, "library_name": "transformers",
              "model-index": [_index(config, final)]}
    beams = config.eval_beams
    steps = [f"| {stage['name']} | {stage['objective']} | {stage['steps']:,} | {stage['seconds'] / 60:.0f} |"
             for stage in stages]
    return "\n".join([
        "---", yaml.safe_dump(header, sort_keys=False).strip(), "---", "", f"# {config.title or config.name}", "",
        config.provenance, "", config.card.strip(), "", "## Scores", "",
        f"{kind.how.format(beams=beams)} The last rows are of the weights in this folder:", "",
        "```console", *_evaluations(config, command), "```", "",
        *_table(kind.shown, final, stages, base or {}), "", *([more, ""] if more else []),
        "## How it was made", "", "```console", command, "```", "",
        "| stage | objective | steps | minutes |", "| --- | --- | --- | --- |", *steps, "",
        f"The dev sets chose the best weights of each stage ({_best_by(config)}) and served for this report, "
        "for nothing else.", ""])


def _best_by(config: TrainingConfig) -> str:
    """What chose the best weights, in words: the recipe's own score, and of some stages another one."""
    kind = RECIPES[config.recipe]
    chosen = [f"in {stage.name} {kind.shown.get(stage.metric, stage.metric)}"
              for stage in config.stages if stage.metric]
    own = [] if all(stage.metric for stage in config.stages) else [kind.best_by]
    return ", ".join([*own, *chosen])


def _evaluations(config: TrainingConfig, command: str) -> list[str]:
    """The commands that give the last rows of the table: one for the dev sets as files, one for each of these."""
    words = shlex.split(command)  # python -m trainer run PRESET ...
    beams = f" --num-beams {config.eval_beams}" if RECIPES[config.recipe].beams else ""
    return [shlex.join([*words[:3], "dev", *words[4:], "--out", DEV]),
            *(f"python -m narrator evaluate --variant {config.name} --data {shlex.quote(f'{DEV}/{name}')}{beams}"
              for name in file_names(config))]


def _table(shown: Mapping[str, str], final: Scores, stages: list[dict[str, Any]], base: Scores) -> list[str]:
    rows = [f"| after stage | data | {' | '.join(shown.values())} |", "| --- | --- |" + " --- |" * len(shown)]
    told = [("before training", base), *((stage["name"], stage["scores"]) for stage in stages)]
    for name, scores in [*told, ("**as shipped**", final)]:
        rows += [f"| {name} | {data} | {' | '.join(_cell(of_set.get(metric)) for metric in shown)} |"
                 for data, of_set in scores.items()]
    return rows


def _cell(score: dict[str, float] | None) -> str:
    """Not every set has every score: one may hold no question of a kind, or none at all."""
    if score is None:
        return ""
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def _index(config: TrainingConfig, final: Scores) -> dict[str, Any]:
    """The Hub's `model-index` of one model: what the commands of the card give again."""
    return {"name": config.name, "results": [
        {"task": {"type": RECIPES[config.recipe].task}, "dataset": {"name": data, "type": data.split("/")[0]},
         "metrics": [{"type": metric, "value": score["value"]} for metric, score in of_set.items()
                     if metric not in OF_THE_RUN]}
        for data, of_set in final.items()]}
