"""Every recipe: killed in the middle of an epoch of a middle stage, a run goes on to the losses and weights that it
would have had."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from PIL import Image
from prompted import PRESET as PROMPTED
from prompted import prompted_data  # noqa: F401  (a fixture)
from safetensors.torch import load_file
from struck import make_run, strike
from test_image_gpt_recipe import SETTINGS as DIGITS
from test_image_gpt_recipe import data as digits  # noqa: F401  (a fixture)
from test_projector_lm import COLOURS
from test_projector_lm import root as asked  # noqa: F401  (a fixture)
from training import go_on, steps_of

from trainer.events import read_events

EPOCH, EPOCHS, EVALUATIONS = 3, 2, 3  # steps; a checkpoint every second step, so one in the middle of each epoch
EACH = EPOCH * EPOCHS
KILLED = EACH + 5  # step of the run: of the middle stage the fifth, the second of its second epoch
COMMON = {"epochs": EPOCHS, "evaluations": EVALUATIONS, "patience": 100, "label_smoothing": 0.0, "learning_rate": 5e-3}
LORA = {"r": 2, "alpha": 4, "dropout": 0.1}
Made = tuple[dict[str, Any], Path]  # settings, data root


def stages(size: int, **changes: Any) -> list[dict[str, Any]]:
    """Three of them; size: items of an epoch."""
    return [{"name": name, "batch_size": size // EPOCH, **COMMON, **changes} for name in ("first", "middle", "last")]


@pytest.fixture
def prompted(data: Path, request: pytest.FixtureRequest) -> Made:
    """The language model, its weights all learning, or adapters on it, or with a curriculum."""
    changes: dict[str, Any] = dict(request.param)
    for name, places in (("two-types", ("grass", "field")), ("dev", ("hill", "road"))):
        rows = [{"image_id": f"{colour} {thing} {place}",
                 "captions": [f"A {colour} {thing} on the {place}.", f"the {thing} stands on a {place}"]}
                for colour in ("brown", "white", "black") for thing in ("dog", "bus") for place in places]
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if "lora" in changes:
        changes["base"] = "base"
        if not (data / "base").exists():
            made = make_run({**PROMPTED, "stages": [{**PROMPTED["stages"][0], "epochs": 0}]}, data, data / "made")
            go_on(made)
            (data / "made" / "out").rename(data / "base")
    return {**PROMPTED, "dropout": 0.1, "eval_beams": 1, "eval_limit": 2,
            "stages": stages(60, objective="answer"), **changes}, data


CAUSAL = [pytest.param({}, id="whole"), pytest.param({"lora": {**LORA, "targets": "c_attn"}}, id="lora"),
          pytest.param({"curriculum": 4.0, "eval_limit": 12, "data": [{"path": "two-types.jsonl"}],
                        "dev": [{"path": "dev.jsonl"}], "stages": stages(24, objective="answer")}, id="curriculum")]


@pytest.mark.parametrize("prompted", CAUSAL, indirect=True)
def test_causal_lm(prompted: Made, tmp_path: Path) -> None:
    run = check(*prompted, tmp_path)
    weighed = [event["weights"] for event in read_events(run / "events.jsonl")[0] if event["event"] == "curriculum"]
    assert not weighed or len({weight for found in weighed for weight in found.values()}) > 3


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
def test_projector_lm(asked: Path, tmp_path: Path, lora: dict[str, Any] | None) -> None:  # noqa: F811
    """Captions and questions; the adapters of the middle stage are merged at its end, and the last puts on new ones."""
    rows = [{"image": f"{colour}{number}.png", "captions": [f"A {colour} square.", f"something {colour}"],
             "split": "dev" if number == 3 else "train"} for colour in COLOURS for number in range(4)]
    (asked / "told.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first, *others = stages(12, objective="answer", train_language=True, language_learning_rate=5e-3)
    check({"name": "tiny-qa", "recipe": "projector_lm", "encoder": "vit", "base": "gpt2", "image_size": 32,
           "max_tokens": 32, "precision": "fp32", "eval_beams": 1, "eval_limit": 2, "dropout": 0.1,
           "data": [{"path": f"{name}.jsonl", "split": "train"} for name in ("told", "asked")],
           "dev": [{"path": f"{name}.jsonl", "split": "dev"} for name in ("told", "asked")],
           "stages": [{**first, "objective": "caption", "train_language": False}, *others],
           **({"lora": lora} if lora else {})}, asked, tmp_path)


def test_image_gpt(digits: Path, tmp_path: Path) -> None:  # noqa: F811
    """Pictures are moved and turned at random."""
    check({**DIGITS, "eval_limit": 10, "dropout": 0.1, "shift": 1, "turn": 10, "zoom": 0.1,
           "stages": stages(200 + EPOCH, objective="picture_tokens")}, digits, tmp_path)


def test_hub_vlm(tmp_path: Path) -> None:
    """Adapters, in the middle stage those of the picture encoder too."""
    tiny_models.VISION_LANGUAGE["smolvlm"](tmp_path / "smolvlm")
    rows = []
    for number in range(6):
        Image.new("RGB", (32, 32 + number), (40 * number, 200 - 30 * number, 90)).save(tmp_path / f"{number}.png")
        rows.append({"image": f"{number}.png", "captions": ["a red dog runs", "a cat sits", "the man sits"]})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "dev.jsonl").write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    first, middle, last = stages(6)
    check({"name": "tiny-vlm", "recipe": "hub_vlm", "data": [{"path": "rows.jsonl"}], "dev": [{"path": "dev.jsonl"}],
           "base": "smolvlm", "max_tokens": 16, "precision": "fp32", "lora": LORA, "workers": 0, "eval_beams": 1,
           "stages": [first, {**middle, "train_encoder": True}, last]}, tmp_path, tmp_path)


def check(settings: dict[str, Any], root: Path, home: Path) -> Path:
    """Losses and weights of a run that was killed, and of one that was left alone; the folder of the first."""
    whole, cut = (make_run({**settings, "license": "mit"}, root, home / name) for name in ("whole", "cut"))
    strike(cut, KILLED)
    kept = [path.name for path in (cut / "stages" / "middle").glob("checkpoint-*")]
    assert kept and max(kept) == "checkpoint-4" and not (cut / "stages" / "last").exists()
    for run in (whole, cut):
        go_on(run)
    ours, theirs = steps_of(cut), steps_of(whole)
    assert list(theirs) == list(range(1, 3 * EACH + 1)) and len(set(theirs.values())) > EACH
    assert ours == pytest.approx(theirs, rel=1e-6)
    again = [event["step"] for event in read_events(cut / "events.jsonl")[0] if event["event"] == "step"]
    assert again.count(KILLED) == 2 and again.count(KILLED - 1) == 1, "it went on from its last checkpoint"
    for stage in ("middle", "last"):
        best = [path.relative_to(whole) for path in (whole / "stages" / stage / "best").glob("*.safetensors")]
        assert best
        for path in best:
            made, wanted = load_file(cut / path), load_file(whole / path)
            assert made.keys() == wanted.keys()
            assert all((made[name] - wanted[name]).abs().max() <= 1e-6 for name in wanted)
    return cut
