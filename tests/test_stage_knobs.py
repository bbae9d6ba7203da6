"""How long a stage lasts, how its step size falls, when it is measured, and by what the best of it is kept."""

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from prompted import PRESET as PROMPTED
from prompted import prompted_data  # noqa: F401  (the fixture "data")
from training import PRESET, go_on, tiny  # noqa: F401

from narrator.records import Example, NarratorError, Score
from trainer.card import card
from trainer.config import METRICS, Data, Stage, TrainingConfig, parse_config
from trainer.doctor import check
from trainer.evaluation import by_metric
from trainer.events import read_events
from trainer.jobs import create_job
from trainer.preflight.judged import metric_findings
from trainer.recipes import RECIPES
from trainer.run import evaluations_of, stage_steps, steps_between
from trainer.stages import SCHEDULERS

LEARN = {"name": "learn", "objective": "caption", "batch_size": 6, "epochs": 50, "learning_rate": 1e-3}


def trained(settings: dict[str, Any], root: Path, home: Path) -> tuple[Path, list[dict[str, Any]]]:
    """(the run's folder, its events) after a real training."""
    config = parse_config(settings, "test")
    places = {"data_root": str(root), "out": str(home / "checkpoints" / config.name), "strict": False,
              "command": "python -m trainer run preset.yaml"}
    run = create_job(config.name, settings, home / "runs", places)
    go_on(run)
    return run, read_events(run / "events.jsonl")[0]


def of(events: list[dict[str, Any]], kind: str, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(event[name] for name in names) for event in events if event["event"] == kind and event["step"]]


def best_of(run: Path) -> int:
    """The step whose weights were kept as the best ones of the only stage."""
    (ended,) = run.glob("stages/*/ended.json")
    return int(Path(json.loads(ended.read_text())["best"]).name.split("-")[1])


def test_a_stage_ends_at_its_steps_is_measured_at_its_interval_and_keeps_the_best_by_its_metric(
        tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    stage = LEARN | {"steps": 11, "evaluate_every": 4, "schedule": "linear", "warmup": 0.2, "metric": "rouge_l",
                     "patience": 9}
    run, events = trained({**PRESET, "text": [], "stages": [stage]}, tiny, tmp_path)
    steps = of(events, "step", "step", "total_steps", "learning_rate")
    assert [step for step, _, _ in steps] == list(range(1, 12)) and {total for _, total, _ in steps} == {11}
    # by hand: up to the peak in round(11 x 0.2) = 2 steps, then straight down to 0 in the 9 others
    rates = [1e-3 * min(step / 2, (11 - step) / 9) for step in range(11)]
    assert [rate for _, _, rate in steps] == pytest.approx(rates, rel=1e-3)
    found = of(events, "evaluation", "step", "metric", "score", "scores")
    assert [(step, metric) for step, metric, _, _ in found] == [(step, "ROUGE-L") for step in (4, 8, 11)]
    assert [step for (step,) in of(events, "checkpoint", "step")] == [4, 8, 11]
    values = {step: scores["captions.jsonl"]["rouge_l"]["value"] for step, _, _, scores in found}
    assert {step: round(score, 4) for step, _, score, _ in found} == values
    assert best_of(run) == max(values, key=lambda step: values[step])
    done = next(event for event in events if event["event"] == "stage_done")
    assert done["steps"] == 11
    assert "(in learn ROUGE-L)" in (tmp_path / "checkpoints" / "tiny" / "README.md").read_text()


def test_of_a_loss_the_lowest_is_the_best_and_ends_early(data: Path, tmp_path: Path) -> None:
    stage = {"name": "learn", "objective": "answer", "epochs": 100, "batch_size": 8, "learning_rate": 0.05,
             "schedule": "constant", "warmup": 0.0, "evaluate_every": 5, "steps": 60, "metric": "perplexity",
             "patience": 2}
    run, events = trained({**PROMPTED, "stages": [stage]}, data, tmp_path)
    assert {rate for (rate,) in of(events, "step", "learning_rate")} == {0.05}
    found = of(events, "evaluation", "step", "metric", "value", "higher_is_better", "best")
    values = [value for _, _, value, _, _ in found]
    assert {(metric, higher) for _, metric, _, higher, _ in found} == {("perplexity", False)}
    assert [best for *_, best in found] == [value < min([math.inf, *values[:at]]) for at, value in enumerate(values)]
    assert best_of(run) == found[values.index(min(values))][0]
    if len(found) < 12:
        assert values[-3] == min(values), "two in a row were no better"


def test_steps_and_evaluations_of_a_stage() -> None:
    class Recipe:
        def size(self, stage: Stage) -> int:
            return 100

    def of_stage(**settings: Any) -> tuple[int, int, int]:
        stage = Stage(name="x", **{"batch_size": 10, "epochs": 3, **settings})
        steps = stage_steps(stage, Recipe())
        return steps, steps_between(stage, steps), evaluations_of(stage, steps)

    assert of_stage(evaluations=4) == (32, 8, 4)  # as before: a whole number of steps for each
    assert of_stage(evaluations=4, steps=1000) == (32, 8, 4)
    assert of_stage(evaluations=4, steps=30) == (30, 8, 4)
    assert of_stage(evaluations=4, steps=3) == (3, 1, 3)
    assert of_stage(evaluate_every=7) == (30, 7, 5)
    assert of_stage(evaluate_every=700) == (30, 30, 1)
    assert of_stage(epochs=0, steps=5)[0] == 0


def test_a_metric_is_one_of_the_recipe_s(tmp_path: Path) -> None:
    assert set(METRICS) == set(RECIPES)
    for name, metrics in METRICS.items():
        known = set(RECIPES[name].shown) | {"perplexity"}
        assert set(metrics) <= known and next(iter(RECIPES[name].shown)) in metrics
        with pytest.raises(NarratorError, match=rf"'metric' must be one of {metrics[0]}, .*{name}.*not 'cidre'"):
            parse_config({"name": "x", "recipe": name, "data": [{"path": "a"}], "dev": [{"path": "a"}],
                          "stages": [{"name": "s", "metric": "cidre"}]}, "test")
    for wrong, says in (({"schedule": "wave"}, "cosine, linear, constant"), ({"steps": 0}, "'steps' must be between 1"),
                        ({"evaluate_every": "x"}, "whole number")):
        with pytest.raises(NarratorError, match=says):
            parse_config({**PRESET, "stages": [{"name": "s", **wrong}]}, "test")
    assert set(SCHEDULERS) == {"cosine", "linear", "constant"}


def test_a_metric_weighs_the_sets_by_their_examples() -> None:
    def score(value: float, higher: bool = False) -> Score:
        return Score(value=value, low=value, high=value, higher_is_better=higher)

    example = Example(image=None, texts=("x",))
    sets = {"a": [example] * 3, "b": [example], "c": [example]}
    scores = {"a": {"loss": score(1.0)}, "b": {"loss": score(5.0)}, "c": {"cider_d": score(0.5, True)}}
    assert by_metric(scores, sets, "loss") == pytest.approx(-(3 * 1.0 + 5.0) / 4)
    assert by_metric(scores, sets, "cider_d") == 0.5
    with pytest.raises(NarratorError, match=r"no score 'accuracy'\. They have: cider_d, loss\. The .* start a new one"):
        by_metric(scores, sets, "accuracy")


@pytest.mark.parametrize(("rows", "wrong"), [
    ([{"prompt": "What colour?", "caption": "red"}], "cider_d"),
    ([{"caption": "Hm."}], "accuracy"),
    ([{"prompt": "What is there?", "caption": "A red square on a table."}], "accuracy"),
    ([{"prompt": "What colour?", "caption": "red"}, {"caption": "Hm."}], None),
    ([{"caption": "A red dog runs."}], None)])
def test_a_metric_that_nothing_held_out_has_is_found_before_a_start(
        rows: list[dict[str, str]], wrong: str | None, tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    for colour, split in (("red", "train"), ("blue", "dev")):
        shutil.copy(tiny / f"{colour}1.png", tmp_path / f"{split}.png")
    lines = [json.dumps({"image": f"{split}.png", "split": split} | row) for split in ("train", "dev") for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    config = TrainingConfig(
        name="mine", recipe="projector_lm", data=[Data(path="rows.jsonl", split="train")],
        dev=[Data(path="rows.jsonl", split="dev")],
        stages=[Stage(name=metric, objective="answer", metric=metric) for metric in ("accuracy", "cider_d")])
    found = [one for one in check(config, tmp_path, lambda *_: None, quick=True).findings if "goes by" in one.what]
    assert [one.level for one in found if f"'{wrong}'" in one.what] == ["error"] * (wrong is not None)
    assert len(found) == (wrong is not None)
    assert metric_findings(dataclasses.replace(config, recipe="hub_vlm"), []) == metric_findings(config, []) == []


def test_the_card_says_what_chose() -> None:
    config = parse_config({**yaml.safe_load(yaml.safe_dump(PRESET)), "stages": [
        LEARN | {"name": "first"}, LEARN | {"name": "second", "metric": "bleu_4"}]}, "test")
    assert "(greedy CIDEr-D, in second BLEU-4)" in card(config, {}, [], "python -m trainer run preset.yaml")
