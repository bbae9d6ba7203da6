"""Fine-tuning vision-language models of a hub: labels and loss by hand, adapters alone and whole weights, a run from
start to end. Random weights of the real architectures."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from PIL import Image
from safetensors.torch import load_file

from narrator.engine import Engine
from narrator.families.hub_vlm import HubVLM
from narrator.pictures import open_picture
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from trainer import jobs
from trainer.card import PLACES
from trainer.config import load_config, parse_config
from trainer.loop import run_job
from trainer.recipes.hub_vlm import EYES, HubVLMRecipe, _Asked, whole_of
from trainer.recipes.shown import answer_tokens, encode
from trainer.recipes.teacher import IGNORED

NAMES = ("blip", "git", "smolvlm", "qwen2.5-vl")
PRESETS = ("blip-base-lora", "smolvlm-256m-lora", "qwen2.5-vl-3b-lora")
LORA = {"r": 8, "alpha": 16, "dropout": 0.0}
SETTINGS = GenerationSettings(num_beams=1, max_new_tokens=8)
ASKED = "what is this"
# Turns that end, as the templates of the hub have them; and what follows an end is not learned.
TURNS = ("{% for message in messages %}{{ message['role'] }} :{% for part in message['content'] %}"
         "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}</s> ?"
         "{% endfor %}{% if add_generation_prompt %}assistant :{% endif %}")
ROWS = {"red": ["a red dog runs"], "green": ["a green cat sits on the grass"], "blue": ["the man sits"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain pictures with captions, the same with a question, and tiny models."""
    folder = tmp_path_factory.mktemp("shown")
    for width, colour in zip((40, 96, 32), ROWS, strict=True):
        Image.new("RGB", (width, 40), colour).save(folder / f"{colour}.png")
    for name, prompt in (("captions", {}), ("asked", {"prompt": ASKED})):
        rows = [{"image": f"{colour}.png", "captions": texts, **prompt} for colour, texts in ROWS.items()]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "texts.jsonl").write_text('{"image_id": 1, "caption": "a cat"}\n', encoding="utf-8")
    for name in (*NAMES, "florence2"):
        tiny_models.VISION_LANGUAGE[name](folder / name)
    (folder / "words").mkdir()
    (folder / "words" / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    return folder


def settings_of(base: str, **changes: Any) -> dict[str, Any]:
    data = [{"path": "captions.jsonl" if base in ("blip", "git") else "asked.jsonl"}]
    return {"name": "tiny-vlm", "recipe": "hub_vlm", "data": data, "dev": data, "base": base, "max_tokens": 16,
            "precision": "fp32", "license": "mit", "stages": [stage()], **changes}


def stage(**changes: Any) -> dict[str, Any]:
    return {"name": "tell", "objective": "answer", "learning_rate": 0.02, "label_smoothing": 0.0, **changes}


@pytest.fixture
def recipe_of(root: Path, tmp_path: Path) -> Callable[..., HubVLMRecipe]:
    def make(base: str, **changes: Any) -> HubVLMRecipe:
        torch.manual_seed(0)
        (tmp_path / "run").mkdir(exist_ok=True)
        config = parse_config(settings_of(base, **changes), "test")
        return HubVLMRecipe(config, root, tmp_path / "run", torch.device("cpu"))
    return make


def batch_of(recipe: HubVLMRecipe, model: Any) -> dict[str, torch.Tensor]:
    dataset = recipe.dataset(recipe.config.stages[0], model, lambda done, total: None)
    return recipe.collate([dataset[row] for row in range(len(dataset))])


def learn(recipe: HubVLMRecipe, model: Any, steps: int) -> list[float]:
    batch, losses = batch_of(recipe, model), []
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model.train(), recipe.config.stages[0]))
    for _ in range(steps):
        loss = recipe.loss(model, batch, recipe.config.stages[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def said(family: HubVLM, root: Path) -> list[str]:
    prompt = "" if family.kind in ("blip", "git") else ASKED
    told = family.batch([open_picture(root / f"{colour}.png") for colour in ROWS], [prompt] * len(ROWS), SETTINGS)
    return ["".join(piece.text for piece in pieces) for pieces in told]


@pytest.mark.parametrize(("name", "start"), [("blip", "[DEC]"), ("git", "[CLS]")])
def test_labels_of_a_captioner_by_hand(recipe_of: Callable[..., HubVLMRecipe], name: str, start: str) -> None:
    """Its own start, the caption as the words of its tokenizer, its end; shorter ones padded."""
    recipe = recipe_of(name)
    batch, ids = batch_of(recipe, recipe.prepare()[0]), recipe.processor.tokenizer.convert_tokens_to_ids
    long = ids(["a", "green", "cat", "sits", "on", "the", "grass", "[SEP]"])
    short = ids(["the", "man", "sits", "[SEP]"])
    assert batch["input_ids"][1:].tolist() == [[ids(start), *long], [ids(start), *short, *[ids("[PAD]")] * 4]]
    assert batch["labels"][1:].tolist() == [[IGNORED, *long], [IGNORED, *short, *[IGNORED] * 4]]
    assert batch["attention_mask"][2].tolist() == [1] * 5 + [0] * 4


@pytest.mark.parametrize("template", [None, TURNS], ids=["turns without end", "turns with an end"])
def test_labels_of_a_chat_model_by_hand(recipe_of: Callable[..., HubVLMRecipe], root: Path,
                                        template: str | None) -> None:
    """The prompt as generation sees it, picture tokens and all, then the answer and its end, nothing after it."""
    recipe = recipe_of("smolvlm")
    recipe.processor.chat_template = template or recipe.processor.chat_template
    model = recipe.prepare()[0]
    batch, ids = batch_of(recipe, model), recipe.processor.tokenizer.convert_tokens_to_ids
    family = HubVLM.around(model, recipe.processor, recipe.variant)
    asked = family.inputs([open_picture(root / "green.png")], ASKED)["input_ids"][0].tolist()
    answer = ids(["a", "green", "cat", "sits", "on", "the", "grass", "</s>"])
    assert asked[-2:] == ids(["assistant", ":"]) and asked.count(ids("<image>")) == 4
    assert batch["input_ids"][1].tolist() == asked + answer
    assert batch["labels"][1].tolist() == [IGNORED] * len(asked) + answer
    assert batch["labels"][0].tolist()[-4:] == [ids("</s>"), *[IGNORED] * 3]


def test_a_cut_answer_has_no_end_and_control_tokens_are_letters(recipe_of: Callable[..., HubVLMRecipe],
                                                                root: Path) -> None:
    recipe = recipe_of("smolvlm")
    reader = recipe.dataset(recipe.config.stages[0], recipe.prepare()[0], lambda done, total: None).reader
    picture, ids = open_picture(root / "red.png"), recipe.processor.tokenizer.convert_tokens_to_ids
    cut = encode(reader, picture, (ASKED, "a red dog"), 2)["labels"][0]
    assert cut[cut != IGNORED].tolist() == ids(["a", "red"])
    tokens = answer_tokens(reader, ASKED, "a <image> </s> dog")
    assert ids("<image>") not in tokens and tokens.count(ids("</s>")) == 1 and tokens[-2:] == ids(["dog", "</s>"])
    with pytest.raises(NarratorError, match=r"take \d+ tokens, and the model has room for 256: shorten the prompt"):
        encode(reader, picture, ("dog " * 300, "a cat"), 8)


@pytest.mark.parametrize(("name", "tiles"), [*((name, False) for name in NAMES), ("smolvlm", True)])
def test_the_loss_by_hand(recipe_of: Callable[..., HubVLMRecipe], name: str, tiles: bool) -> None:
    """Each row alone, all logits, against the padded batch: the mean over the tokens of the answers, a tenth of the
    target spread over all words. Also where a wide picture is cut into fewer tiles than the others."""
    recipe = recipe_of(name, stages=[stage(label_smoothing=0.1)])
    if tiles:
        pictures = recipe.processor.image_processor
        pictures.do_image_splitting, pictures.size = True, {"longest_edge": 2 * tiny_models.SIZE}
    model = recipe.prepare()[0].eval()
    dataset = recipe.dataset(recipe.config.stages[0], model, lambda done, total: None)
    items, total, count = [dataset[row] for row in range(3)], 0.0, 0
    assert not tiles or [item["pixel_values"].shape[1] for item in items] == [5, 3, 5]
    for item in items:
        inputs = {key: value for key, value in item.items() if key != "labels"}
        with torch.no_grad():
            logits = model(**inputs).logits[0, -item["labels"].shape[1]:].log_softmax(-1)
        for place, token in enumerate(item["labels"][0].tolist()):
            if token != IGNORED:
                total -= (0.9 * logits[place - 1, token] + 0.1 * logits[place - 1].mean()).item()
                count += 1
    assert count == 5 + 8 + 4
    assert recipe.loss(model, recipe.collate(items), recipe.config.stages[0]).item() == pytest.approx(total / count,
                                                                                                      rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_adapters_alone_learn_and_are_saved_alone(recipe_of: Callable[..., HubVLMRecipe], root: Path, tmp_path: Path,
                                                  name: str) -> None:
    recipe = recipe_of(name, lora=LORA)
    model = recipe.prepare()[0]
    before = said(HubVLM.around(whole_of(model), recipe.processor, recipe.variant), root)
    losses = learn(recipe, model, 30)
    assert losses[-1] < 0.5 * losses[0], losses
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in key and not EYES.search(key) for key in trained)

    family = HubVLM.around(whole_of(model.eval()), recipe.processor, recipe.variant)
    after = said(family, root)
    assert after != before
    variant = recipe.save(model, tmp_path / "saved")
    assert variant.adapter == "." and Path(variant.source) == root / name
    tensors = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    assert all("lora_" in key for key in tensors) and len(tensors) == len(trained)
    assert not list((tmp_path / "saved").glob("model*")) and (tmp_path / "saved" / "tokenizer.json").is_file()
    assert str(root) not in "".join(path.read_text() for path in (tmp_path / "saved").glob("*.json"))
    assert said(recipe.saved(tmp_path / "saved", variant, torch.device("cpu")), root) == after
    assert variant.several == (recipe.config.base not in ("blip", "git"))

    model.save_pretrained(tmp_path / "stage")
    again = recipe.load(tmp_path / "stage").eval()
    batch = batch_of(recipe, model)
    assert recipe.loss(again, batch, recipe.config.stages[0]).item() == pytest.approx(
        recipe.loss(model, batch, recipe.config.stages[0]).item(), rel=1e-4)


def test_all_weights_learn_and_are_saved_whole(recipe_of: Callable[..., HubVLMRecipe], root: Path,
                                               tmp_path: Path) -> None:
    """But for the picture encoder, unless the stage says so."""
    recipe = recipe_of("blip")
    model = recipe.prepare()[0]
    frozen = {key: value.clone() for key, value in model.vision_model.state_dict().items()}
    losses = learn(recipe, model, 20)
    assert losses[-1] < 0.5 * losses[0], losses
    assert all(torch.equal(frozen[key], value) for key, value in model.vision_model.state_dict().items())
    after = said(HubVLM.around(model.eval(), recipe.processor, recipe.variant), root)
    variant = recipe.save(model, tmp_path / "saved")
    assert (variant.source, variant.adapter) == (".", None)
    assert said(recipe.saved(tmp_path / "saved", variant, torch.device("cpu")), root) == after
    assert variant.several == (recipe.config.base not in ("blip", "git"))

    seeing = parse_config(settings_of("blip", stages=[stage(train_encoder=True, encoder_learning_rate=1e-3)]), "test")
    groups = recipe.parameter_groups(model, seeing.stages[0])
    slow = [parameter for group in groups if group["lr"] == 1e-3 for parameter in group["params"]]
    assert {id(parameter) for parameter in slow} == {id(parameter) for parameter in model.vision_model.parameters()}


def test_the_picture_encoder_gets_adapters_where_it_learns(recipe_of: Callable[..., HubVLMRecipe]) -> None:
    recipe = recipe_of("qwen2.5-vl", lora={**LORA, "targets": "qkv, q_proj"}, stages=[stage(train_encoder=True)])
    model = recipe.prepare()[0]
    recipe.parameter_groups(model, recipe.config.stages[0])
    adapted = {key.split(".lora_")[0].rpartition(".")[2] for key, parameter in model.named_parameters()
               if parameter.requires_grad}
    assert adapted == {"qkv", "q_proj"}


def test_each_dev_picture_is_asked_what_its_row_asks(recipe_of: Callable[..., HubVLMRecipe]) -> None:
    recipe = recipe_of("smolvlm")
    family = HubVLM.around(recipe.prepare()[0].eval(), recipe.processor, recipe.variant)
    examples = recipe.read_dev(recipe.config.dev[0], strict=True)
    pictures = [open_picture(example.image) for example in examples if example.image is not None]
    told = _Asked(family, examples).batch(pictures, [""] * 3, SETTINGS)
    assert told == family.batch(pictures, [ASKED] * 3, SETTINGS) != family.batch(pictures, [""] * 3, SETTINGS)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "name it as 'base'"),
    ("nobody/nothing", {}, "neither a folder below"),
    ("words", {}, "a gpt2, which is no image-text-to-text model"),
    ("florence2", {}, "a florence2 with an encoder for its prompt is not trained here"),
    ("blip", {"stages": [stage(objective="language")]}, "'tell' has the objective 'language'; hub_vlm knows caption"),
    ("blip", {"quantize": "4bit"}, "Quantised weights cannot learn: set 'lora'"),
    ("blip", {"quantize": "4bit", "lora": LORA}, "need bitsandbytes: pip install bitsandbytes"),
    ("blip", {"lora": {**LORA, "targets": "q_proj"}}, "no layer 'q_proj' outside its picture encoder. It has: dense,"),
    ("blip", {"data": [{"path": "asked.jsonl"}], "stages": [stage(objective="caption")]},
     "'tell' has nothing to learn from: the data holds questions alone. Set its objective to answer"),
    ("blip", {"data": [{"path": "texts.jsonl"}]}, "texts.jsonl holds texts without pictures"),
]


@pytest.mark.parametrize(("base", "changes", "reason"), REFUSED, ids=[case[2][:30] for case in REFUSED])
def test_what_does_not_fit_together_is_refused(recipe_of: Callable[..., HubVLMRecipe], base: str,
                                               changes: dict[str, Any], reason: str,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as if it were not installed
    with pytest.raises(NarratorError) as refused:
        recipe_of(base, **changes).prepare()
    assert reason in str(refused.value)


def test_settings_of_other_recipes_are_refused_by_name() -> None:
    with pytest.raises(NarratorError, match="'projector' is not a setting of the recipe hub_vlm"):
        parse_config(settings_of("blip", projector="residual"), "test")


def test_a_run_from_start_to_end(root: Path, tmp_path: Path) -> None:
    """BLIP with adapters: the variant appears with its card, and the narrator describes with it."""
    preset = settings_of("blip", lora=LORA, eval_beams=2, stages=[
        stage(objective="caption", epochs=2, batch_size=2, evaluations=2)])
    folder = jobs.create_job("tiny-vlm", dataclasses.asdict(parse_config(preset, "test")), tmp_path / "runs")
    (folder / PLACES).write_text(json.dumps({"command": "python -m trainer run tiny.yaml"}))
    out = run_job(folder, load_config(folder / jobs.CONFIG), root, tmp_path / "models" / "tiny-vlm")
    card = (out / "README.md").read_text()
    assert "CIDEr-D" in card and "pipeline_tag: image-text-to-text" in card
    assert {"adapter_model.safetensors", "variant.yaml", "metrics.json"} <= {path.name for path in out.iterdir()}
    assert len(list((folder / "stages" / "tell").glob("checkpoint-*"))) == 2
    engine = Engine(tmp_path / "models", device="cpu")
    with engine.use("tiny-vlm") as family:
        assert isinstance(family, HubVLM) and all(said(family, root))
    engine.close()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_whole(name: str, root: Path) -> None:
    path = Path(__file__).parents[1] / "trainer" / "presets" / f"{name}.yaml"
    config = load_config(path)
    assert config.recipe == "hub_vlm" and config.base and config.lora is not None
    assert all(stage.objective in ("caption", "answer") for stage in config.stages)
    assert f"python -m trainer run trainer/presets/{name}.yaml" in path.read_text()
