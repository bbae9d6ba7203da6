"""What a run tells while it learns: the pace of its steps, and the same held-out examples at every evaluation."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from prompted import PRESET, prompted_data  # noqa: F401
from test_causal_lm_runs import run
from training import only

from narrator.catalog import load_variants
from narrator.families.causal_lm import CausalLM
from narrator.families.image_gpt import ImageGpt
from narrator.families.picture_tokens import Codebook
from narrator.readers.digits import Digit
from narrator.records import Example
from trainer import samples
from trainer.config import Stage, parse_config
from trainer.events import EventLog, read_events
from trainer.questions import companions
from trainer.recipes.projector_lm import ProjectorRecipe
from trainer.run import Run
from trainer.watch import LINES, Watch

ROW = {"index", "image", "prompt", "reference", "base", "text"}


def told(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder / "events.jsonl")[0] if event["event"] == kind]


def test_every_evaluation_describes_the_same_pictures(finished: Path) -> None:
    begin, *later = told(only(finished / "runs"), "evaluation")
    assert begin["step"] == 0 and begin["score"] is None and not begin["best"]
    rows = [[{name: row[name] for name in ROW - {"text"}} for row in event["samples"]] for event in (begin, *later)]
    assert len(rows) == 1 + 2 + 6 + 1 and all(one == rows[0] for one in rows)
    assert [Path(row["image"]).name for row in rows[0]] == ["red3.png", "green3.png", "blue3.png"]
    assert all(Path(row["image"]).is_file() and row["reference"].startswith("A ") for row in rows[0])
    assert all(row["base"] == row["text"] == "" for row in begin["samples"]), "random weights have no words"
    assert all(row["text"] for row in later[-2]["samples"]), "what has learned says something"
    assert later[0]["metric"] == "CIDEr-D" and later[0]["higher_is_better"] and later[0]["value"] == later[0]["score"]


def test_an_evaluation_says_whether_it_is_the_best(finished: Path) -> None:
    found = [event for event in told(only(finished / "runs"), "evaluation") if event["stage"] == "finetune"]
    best = None
    for event in found:
        assert event["best"] == (best is None or event["score"] > best)
        best = event["score"] if event["best"] else best
        assert event["best_score"] == best
    assert found[0]["best"]


def test_a_step_tells_its_pace_in_a_short_line(finished: Path) -> None:
    run = only(finished / "runs")
    steps = told(run, "step")
    assert all(50e6 < event["memory_bytes"] < 50e9 for event in steps)
    assert all(0 < event["examples_per_s"] < 1e6 for event in steps)
    lines = [line for line in (run / "events.jsonl").read_text().splitlines() if '"event": "step"' in line]
    assert max(map(len, lines)) < 320, "a step in which a run of 100,000 tells 10,000 lines is 3 MB"


def test_a_long_run_tells_fewer_steps(tmp_path: Path) -> None:
    stage = Stage(name="only")
    with EventLog(tmp_path / "events.jsonl") as events:
        run = Run(folder=tmp_path, config=parse_config({**PRESET}, "test"), recipe=None, dev={}, events=events,
                  device=torch.device("cpu"), total=100_000)
        watch = Watch(run, stage)
        state = SimpleNamespace(max_steps=100_000, global_step=0)
        watch.on_train_begin(None, state, None)
        for step in (1, 2, 9, 10, 11, 20, 99_999, 100_000):
            state.global_step = step
            watch.on_log(None, state, None, {"loss": 1.0})
    assert [event["step"] for event in told(tmp_path, "step")] == [1, 10, 20, 100_000]
    assert watch.every == 100_000 // LINES


def test_prompts_are_shown_beside_the_words_of_the_base(data, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tmp_path / "checkpoints"))
    short = {**PRESET, "stages": [{**PRESET["stages"][0], "evaluations": 1, "epochs": 1}]}
    first, _ = run(short, data, tmp_path)
    second, _ = run({**short, "name": "tiny-more", "base": "checkpoints/tiny-prompt"}, data, tmp_path)
    begin, event = told(first, "evaluation")
    assert {row["base"] for row in begin["samples"]} == {""} and event["samples"][0]["image"] is None
    assert event["metric"] == "loss of the answer" and not event["higher_is_better"]
    assert event["value"] == -event["score"] > 0
    begin, event = told(second, "evaluation")
    family = CausalLM(load_variants(tmp_path / "checkpoints")["tiny-prompt"], "cpu")
    asked = [Example(image=None, texts=(), prompt=row["prompt"]) for row in begin["samples"]]
    assert len(asked) == 4 and all(example.prompt for example in asked), "those that are held out of two dozen scenes"
    assert [row["base"] for row in begin["samples"]] == [row["text"] for row in begin["samples"]] \
        == samples.say(family, asked)
    assert [row["base"] for row in event["samples"]] == [row["base"] for row in begin["samples"]]
    kept = json.loads((second / samples.FILE).read_text())
    assert [row["base"] for row in kept] == [row["base"] for row in begin["samples"]], "kept for when it is resumed"


def test_pictures_without_a_file_are_written_for_the_page(tmp_path: Path) -> None:
    from tiny_families import save_image_gpt

    save_image_gpt(tmp_path / "model")
    family = ImageGpt.around(*_digit_model(tmp_path / "model"))
    size = family.codebook.size
    pixels = [np.full((size, size), value, dtype=np.uint8) for value in range(20)]
    dev = {"digits": [Digit(image=None, texts=(str(row % 10),), label=row % 10, pixels=array)
                      for row, array in enumerate(pixels)]}
    recipe = SimpleNamespace(asked=list, speaker=lambda model: model)
    shown, new = samples.begin(tmp_path, recipe, dev, None)
    assert new and [row["index"] for row in shown.rows] == [0, 3, 5, 8, 11, 14, 16, 19]
    for row in shown.rows:
        assert np.array_equal(np.array(Image.open(row["image"])), pixels[row["index"]])
    assert all(row["text"].startswith("The digit ") for row in shown.spoken(family)), "a class is told"


def _digit_model(folder: Path) -> tuple[Any, Codebook]:
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(folder, local_files_only=True), Codebook.load(folder)


def test_half_of_the_pictures_are_asked_a_question() -> None:
    recipe = object.__new__(ProjectorRecipe)
    examples = [Example(image=Path(f"{number}.jpg"), texts=("A brown dog runs over the grass.", "A brown dog runs."))
                for number in range(4)]
    recipe.companions = companions(examples)
    shown = recipe.asked(examples)
    assert [bool(example.prompt) for example in shown] == [False, True, False, True]
    assert shown[0] == examples[0] and len(shown[1].texts) == 1 and shown[1].image == examples[1].image
    assert recipe.asked(examples) == shown, "the same every time"


@pytest.mark.parametrize(("size", "places"), [(0, []), (1, [0]), (3, [0, 1, 2]), (1000, [0, 143, 285, 428, 571, 714,
                                                                                         856, 999])])
def test_examples_are_spread_over_the_sets(size: int, places: list[int]) -> None:
    everything = [Example(image=None, texts=(str(number),)) for number in range(size)]
    chosen = samples.choose({"a": everything[:size // 3], "b": everything[size // 3:]})
    assert list(chosen) == places and [example.texts[0] for example in chosen.values()] == [str(one) for one in places]
