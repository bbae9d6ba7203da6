"""`trainer dev` and `narrator evaluate` together give what each recipe's own evaluation gives: on tiny weights."""

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import yaml
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel, ViTConfig, ViTModel

from narrator.engine import shared_engine
from narrator.evaluate import evaluate
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from trainer.__main__ import main
from trainer.card import card
from trainer.config import load_config, parse_config
from trainer.held_out import file_names
from trainer.questions import KINDS
from trainer.recipes import recipe_class
from trainer.recipes.pairs import make_tokenizer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
COLOURS = {"red": (200, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 200), "white": (240, 240, 240)}
LINES = {"dog": "runs on the grass", "cat": "sits on a sofa"}
SMALL: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "image_size": 32, "precision": "fp32", "eval_beams": 2,
                         "dropout": 0.0}
DATA = {"data": [{"path": "set/captions.jsonl", "split": "train"}],
        "dev": [{"path": "set/captions.jsonl", "split": "dev"}]}
STEPS = 60
STAGE = {"name": "s", "objective": "answer", "learning_rate": 5e-3, "label_smoothing": 0.0}
ASKED = {"path": "set/asked.jsonl", "split": "dev"}
PRESETS: dict[str, dict[str, Any]] = {
    "encoder_decoder": {**SMALL, **DATA, "vision": "vit", "vision_width": 64, "vision_layers": 1, "vision_patch": 8,
                        "min_count": 1, "eval_limit": 3,
                        "stages": [{**STAGE, "objective": "caption", "train_encoder": True}]},
    "causal_lm": {**SMALL, "data": [{"path": "set/texts.jsonl"}], "dev": [{"path": "set/texts.jsonl"}], "vivid": 0.5,
                  "held_out": 0.5, "vocabulary": 300, "max_tokens": 40,
                  "stages": [STAGE]},
    "projector_lm": {**SMALL, **DATA, "dev": [*DATA["dev"], ASKED], "encoder": "vit", "base": "gpt2", "max_tokens": 32,
                     "stages": [{**STAGE, "train_language": True, "language_learning_rate": 5e-3}]},
    "image_gpt": {**SMALL, "data": [{"path": "digits/train.npz"}], "dev": [{"path": "digits", "split": "dev"}],
                  "image_size": 8, "patch": 2, "clusters": 12,
                  "stages": [{**STAGE, "objective": "picture_tokens"}]},
    "hub_vlm": {**SMALL, **DATA, "dev": [*DATA["dev"], ASKED], "base": "smolvlm", "max_tokens": 16,
                "stages": [STAGE]},
}


def striped(path: Path, rgb: tuple[int, int, int], step: int) -> None:
    """A picture with something on it."""
    image = Image.new("RGB", (48, 40), rgb)
    for across in range(step % 5, 48, 9):
        image.paste((255 - rgb[0], 60, 30 * step % 256), (across, 4, across + 4, 36))
    image.save(path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with captions and with questions, texts, digits; and what the recipes begin with."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "set" / "images").mkdir(parents=True)
    rows, asked = [], []
    for number, colour in enumerate([*COLOURS] * 3):
        name, animal = f"images/{number}.png", [*LINES][number % 2]
        striped(folder / "set" / name, COLOURS[colour], number)
        split = {"image": name, "split": "dev" if number > 6 else "train"}
        rows.append({**split, "captions": [f"A {colour} {animal} {LINES[animal]} .", f"two {colour} {animal}s",
                                           f"a {animal} {LINES[animal]}"]})
        asked.append({**split, "prompt": "What colour is it?", "captions": [colour]})
    texts = [{"image_id": f"{colour} {animal}", "captions": [f"A {colour} {animal} {LINES[animal]} .",
                                                             f"the large {colour} {animal} waits on a wet street",
                                                             f"one {animal} {LINES[animal]}"]}
             for colour in COLOURS for animal in LINES]
    for name, held in {"captions": rows, "asked": asked, "texts": texts}.items():
        (folder / "set" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    drawn = np.random.default_rng(0)
    (folder / "digits").mkdir()
    for part, count in (("train", 60), ("dev", 30)):
        images = drawn.integers(0, 255, (count, 8, 8), dtype=np.uint8)
        images[:, [0, -1]] = images[:, :, [0, -1]] = 0  # ink is bright, and none at the edge
        np.savez(folder / "digits" / f"{part}.npz", images=images, labels=drawn.integers(0, 10, count))
    bases(folder)
    return folder


def bases(folder: Path) -> None:
    """An encoder, a language model and a vision-language model of random weights."""
    torch.manual_seed(0)
    ViTModel(ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32,
                       patch_size=8), add_pooling_layer=False).save_pretrained(folder / "vit")
    tokenizer = make_tokenizer(["What colour is it?", "Describe this picture.", *COLOURS, *LINES], 300)
    GPT2LMHeadModel(GPT2Config(
        vocab_size=len(tokenizer), n_positions=96, n_embd=32, n_layer=1, n_head=2, embd_pdrop=0.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id)).save_pretrained(folder / "gpt2")
    tokenizer.save_pretrained(folder / "gpt2")
    tiny_models.save_smolvlm(folder / "smolvlm")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NARRATOR_CHECKPOINTS", str(folder))
        yield folder
        shared_engine().close()


def preset_of(recipe: str, folder: Path) -> Path:
    path = folder / f"{recipe}.yaml"
    path.write_text(yaml.safe_dump({"name": f"tiny-{recipe.replace('_', '-')}", "recipe": recipe, **PRESETS[recipe]}))
    return path


def learned(recipe: Any) -> Any:
    """The model after a few steps: so much that it says something of what is asked for."""
    stage = recipe.config.stages[0]
    torch.manual_seed(3)
    random.seed(3)
    model = recipe.prepare()[0].to(DEVICE)
    dataset = recipe.dataset(stage, model, lambda done, total: None)
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model, stage))
    for _ in range(STEPS):
        items = [dataset[random.randrange(len(dataset))] for _ in range(8)]
        recipe.loss(model.train(), recipe.collate(items), stage).backward()
        optimizer.step()
        optimizer.zero_grad()
    return recipe.finish(model.eval())


@pytest.mark.parametrize("recipe", PRESETS)
def test_both_ways_agree(recipe: str, root: Path, checkpoints: Path, tmp_path: Path,
                         capsys: pytest.CaptureFixture[str]) -> None:
    preset = preset_of(recipe, tmp_path)
    config = load_config(preset)
    (tmp_path / "run").mkdir()
    teacher = recipe_class(recipe)(config, root, tmp_path / "run", DEVICE)
    variant = teacher.save(learned(teacher), checkpoints / config.name)
    (checkpoints / config.name / "variant.yaml").write_text(yaml.safe_dump(dataclasses.asdict(variant)))
    dev = {source.path: teacher.read_dev(source, strict=True)[:config.eval_limit] for source in config.dev}
    wanted = teacher.evaluate(teacher.saved(checkpoints / config.name, variant, DEVICE), dev, beams=2, intervals=True,
                              tell=lambda done, total: None)

    assert main(["dev", str(preset), "--out", str(tmp_path / "dev"), "--data-root", str(root)]) == 0
    told = capsys.readouterr().out.splitlines()
    settings = GenerationSettings() if recipe == "image_gpt" else GenerationSettings(num_beams=2)
    assert len(told) == len(config.dev)
    for source, name, line in zip(config.dev, file_names(config), told, strict=True):
        path = tmp_path / "dev" / name
        steps: list[tuple[int, int]] = []
        report = evaluate(config.name, path, settings=settings, progress=lambda *step, steps=steps: steps.append(step))
        assert line == f"{path}: {report.n} rows" and steps[-1][0] == steps[-1][1] >= report.n
        found = report.scores
        assert found.keys() == wanted[source.path].keys()
        for metric, score in wanted[source.path].items():
            assert dataclasses.astuple(found[metric]) == pytest.approx(dataclasses.astuple(score), abs=1e-6), metric
    least = [scores.get("bleu_1", scores.get("accuracy")) for scores in wanted.values()]
    assert max(score.value for score in least) > 0.05  # nought is easily agreed upon


def test_what_the_rows_hold(root: Path, tmp_path: Path) -> None:
    """Of each recipe: the fields that say what is measured, and pictures where the file says they are."""
    held: dict[str, list[list[dict[str, Any]]]] = {}
    for recipe in PRESETS:
        out = tmp_path / recipe
        assert main(["dev", str(preset_of(recipe, tmp_path)), "--out", str(out), "--data-root", str(root)]) == 0
        config = load_config(tmp_path / f"{recipe}.yaml")
        held[recipe] = [[json.loads(line) for line in (out / name).read_text().splitlines()]
                        for name in file_names(config)]
        for rows in held[recipe]:
            assert len({row["id"] for row in rows}) == len(rows) and {row["split"] for row in rows} == {"dev"}
            assert all((out / row["image"]).is_file() for row in rows if "image" in row)
    assert [len(rows) for rows in held["encoder_decoder"]] == [3]  # eval_limit
    assert all(len(row["captions"]) == 3 for row in held["encoder_decoder"][0])
    first = held["causal_lm"][0][0]
    assert first["answer"] == first["references"][0] and first["max_tokens"] == 40 and "image" not in first
    vivid = [row for row in held["causal_lm"][0] if "large" in " ".join(row["references"])]
    assert vivid and all("large" in row["answer"] and row["prompt"] for row in vivid)
    made, own = held["projector_lm"]
    assert [row.get("kind") for row in made[-5:]] == [None] * 5 and "captions" in made[-1]
    assert {row["kind"] for row in made[:-5]} and {row["kind"] for row in made[:-5]} <= {*KINDS}
    assert {row["kind"] for row in own} == {"given"} and own[0]["prompt"] == "What colour is it?"
    assert not [row for rows in held["hub_vlm"] for row in rows if "kind" in row]
    digits = held["image_gpt"][0]
    assert len(digits) == 30 and digits[0]["image"] == "digits-dev/00001.png" and 0 <= digits[0]["label"] <= 9
    with np.load(root / "digits" / "dev.npz") as archive, \
            Image.open(tmp_path / "image_gpt" / digits[4]["image"]) as picture:
        assert np.array_equal(np.asarray(picture), archive["images"][4])
        assert [row["label"] for row in digits] == archive["labels"].tolist()


def test_a_file_for_each_dev_set() -> None:
    sets = [{"path": "flickr8k/captions.jsonl", "split": "dev"}, {"path": "coco/annotations/captions_val2017.json"},
            {"path": "a set/x.csv"}, {"path": "a-set/x.tsv"}]
    config = parse_config({"name": "n", "data": sets[:1], "dev": sets, "stages": [{"name": "s"}]}, "test")
    assert file_names(config) == ["flickr8k-captions-dev.jsonl", "coco-annotations-captions_val2017.jsonl",
                                  "a-set-x.jsonl", "a-set-x-2.jsonl"]


def test_the_card_names_the_commands(tmp_path: Path) -> None:
    for recipe, beams in (("causal_lm", " --num-beams 2"), ("image_gpt", "")):
        config = load_config(preset_of(recipe, tmp_path))
        told = card(config, {}, [], "python -m trainer run 'my presets/x.yaml' --set seed=2").splitlines()
        at = told.index("```console")
        file = file_names(config)[0]
        assert told[at + 1:at + 4] == [
            "python -m trainer dev 'my presets/x.yaml' --set seed=2 --out dev",
            f"python -m narrator evaluate --variant {config.name} --data dev/{file}{beams}", "```"]


def test_what_cannot_be_written_or_read_is_one_sentence(root: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    preset = preset_of("image_gpt", tmp_path)
    (tmp_path / "file").write_text("")
    for arguments, reason in ((["--out", str(tmp_path / "file" / "x")], "cannot be written"),
                              (["--out", str(tmp_path), "--set", "dev.0.split=gone"], "There are no pictures"),
                              (["--out", str(tmp_path), "--set", "learning=1"], "unknown setting")):
        assert main(["dev", str(preset), "--data-root", str(root), *arguments]) == 2
        assert reason in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(NarratorError, match="There is no variant"):
        evaluate("no-such-variant", root / "set" / "captions.jsonl")
