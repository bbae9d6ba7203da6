"""A language model that reads pictures: family and recipe, on tiny random weights of real architectures."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    GPT2Config,
    GPT2LMHeadModel,
    PhiConfig,
    PhiForCausalLM,
    ViTConfig,
    ViTModel,
)

from narrator.adapters.placing import write_manifest
from narrator.catalog import load_variants
from narrator.engine import Engine
from narrator.families.projector_lm import ProjectorFamily
from narrator.families.projector_model import joined
from narrator.metrics.questions import same
from narrator.records import Example, NarratorError
from narrator.settings import GenerationSettings
from trainer.config import parse_config
from trainer.recipes.asked import Asking, Dialogues
from trainer.recipes.branches import branched
from trainer.recipes.optimising import answer_loss
from trainer.recipes.pairs import make_tokenizer
from trainer.recipes.projector_lm import ProjectorRecipe
from trainer.recipes.teacher import IGNORED

COLOURS = {"red": (200, 20, 20), "green": (20, 180, 20), "blue": (20, 20, 200), "white": (240, 240, 240)}
ROWS = [{"image": f"{colour}{number}.png", "split": "dev" if number == 3 else "train", "prompt": "What colour is it?",
         "captions": [colour]} for colour in COLOURS for number in range(4)]
Parts = tuple[Path, Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain pictures with a question each; two encoders and two language models."""
    folder = tmp_path_factory.mktemp("asked")
    for colour, rgb in COLOURS.items():
        for number in range(4):
            Image.new("RGB", (40, 32 + number), tuple(max(0, part - 10 * number) for part in rgb)).save(
                folder / f"{colour}{number}.png")
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    torch.manual_seed(0)
    ViTModel(ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32,
                       patch_size=8), add_pooling_layer=False).save_pretrained(folder / "vit")
    CLIPVisionModel(CLIPVisionConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                                     image_size=32, patch_size=16)).save_pretrained(folder / "clip")
    tokenizer = make_tokenizer(["What colour is it?", "Describe this picture.", *COLOURS], 300)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
           "pad_token_id": tokenizer.pad_token_id}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=96, n_embd=32, n_layer=2, n_head=2,
                               embd_pdrop=0.0, resid_pdrop=0.0, **ids)).save_pretrained(folder / "gpt2")
    PhiForCausalLM(PhiConfig(vocab_size=len(tokenizer), max_position_embeddings=96, hidden_size=32, num_hidden_layers=2,
                             num_attention_heads=2, intermediate_size=48, **ids)).save_pretrained(folder / "phi")
    for name in ("gpt2", "phi"):
        tokenizer.save_pretrained(folder / name)
    return folder


def recipe_of(root: Path, folder: Path, **changes: Any) -> ProjectorRecipe:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "name": "tiny-qa", "recipe": "projector_lm", "data": [{"path": "asked.jsonl", "split": "train"}],
        "dev": [{"path": "asked.jsonl", "split": "dev"}], "encoder": "vit", "base": "gpt2", "image_size": 32,
        "max_tokens": 32, "precision": "fp32",
        "stages": [{"name": "ask", "objective": "answer", "train_language": True, "learning_rate": 3e-3,
                    "language_learning_rate": 3e-3, "label_smoothing": 0.0}], **changes}
    torch.manual_seed(0)
    return ProjectorRecipe(parse_config(settings, "test"), root, folder, torch.device("cpu"))


def learn(recipe: ProjectorRecipe, model: Any, steps: int) -> list[float]:
    stage, losses = recipe.config.stages[0], []
    dataset = recipe.dataset(stage, model, lambda done, total: None)
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model.train(), stage), lr=3e-3)
    for _ in range(steps):
        loss = recipe.loss(model, recipe.collate([dataset[row] for row in range(len(dataset))]), stage)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


SETTINGS = GenerationSettings(num_beams=1, max_new_tokens=8)


def test_adapters_alone_learn_and_become_part_of_the_weights(root: Path, tmp_path: Path) -> None:
    """CLIP, a residual projector and Phi: what the model says is the same before and after merging."""
    recipe = recipe_of(root, tmp_path / "run", encoder="clip", base="phi", projector="residual",
                       lora={"r": 8, "alpha": 16, "dropout": 0.0})
    model = recipe.prepare()[0]
    losses = learn(recipe, model, 8)
    assert losses[-1] < losses[0] - 0.1, losses
    trained = {name for name, parameter in model.language.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert model.eval().patches(torch.zeros(1, 3, 32, 32)).shape == (1, 4, 24)  # without the class token
    inputs = ProjectorFamily.around(model, recipe.tokenizer, recipe.to_pixels)._inputs(
        [[Image.open(root / "red0.png")]], ["What colour is it?"])
    with torch.no_grad():
        before = model(**inputs).logits
        model = recipe.finish(model)
        assert not any("lora_" in name for name in model.state_dict())
        torch.testing.assert_close(model(**inputs).logits, before, atol=1e-4, rtol=1e-4)


def test_it_learns_to_answer_from_the_picture_and_is_saved_whole(root: Path, tmp_path: Path) -> None:
    """Four colours, told apart by nothing but the picture; the saved variant says the same."""
    recipe = recipe_of(root, tmp_path / "run")
    model = recipe.prepare()[0]
    frozen = {name: tensor.clone() for name, tensor in model.vision.state_dict().items()}
    losses = learn(recipe, model, 60)
    assert losses[-1] < 0.1 * losses[0], losses
    assert all(torch.equal(frozen[name], tensor) for name, tensor in model.vision.state_dict().items())

    family, settings = ProjectorFamily.around(model.eval(), recipe.tokenizer, recipe.to_pixels), SETTINGS
    pictures = [Image.open(root / f"{colour}0.png") for colour in COLOURS]
    said = ["".join(piece.text for piece in told) for told in
            family.batch(pictures, ["What colour is it?"] * 4, settings)]
    assert said == list(COLOURS)
    variant = recipe.save(model, tmp_path / "saved")
    for written in (tmp_path / "saved").glob("*.json"):
        assert str(root) not in written.read_text(encoding="utf-8"), f"{written.name} tells where the base lay"
    again = recipe.saved(tmp_path / "saved", variant, torch.device("cpu"))
    assert ["".join(piece.text for piece in again.stream(picture, "What colour is it?", settings))
            for picture in pictures] == said
    scores = recipe.evaluate(again, {"dev": recipe.read_dev(recipe.config.dev[0], strict=True)}, beams=1,
                             intervals=True, tell=lambda done, total: None)["dev"]
    assert scores["accuracy_given"].value == scores["accuracy"].value >= 0.75
    assert scores["majority_given"].value == 0.25


def test_only_the_projector_learns_in_the_first_stage(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, tmp_path / "run", stages=[{"name": "align", "objective": "answer"}])
    model = recipe.prepare()[0]
    groups = recipe.parameter_groups(model, recipe.config.stages[0])
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {"projector.linear.weight", "projector.linear.bias", "separator"}
    assert sum(len(group["params"]) for group in groups) == 3


def test_the_loss_is_on_the_answer_and_its_end_alone(root: Path, tmp_path: Path) -> None:
    """By hand, against the language model over the same embeddings."""
    recipe = recipe_of(root, tmp_path / "run")
    model, stage = recipe.prepare()[0].eval(), recipe.config.stages[0]
    dataset = recipe.dataset(stage, model, lambda done, total: None)
    batch = recipe.collate([dataset[row] for row in (0, 4)])
    loss = recipe.loss(model, batch, stage)
    total, count = 0.0, 0
    for row, ids, start in zip(batch["picture"], batch["ids"], batch["starts"], strict=True):
        front = model.in_front(batch["patches"][row:row + 1])
        embeddings = torch.cat([front, model.language.get_input_embeddings()(ids)])[None]
        logits = model.language(inputs_embeds=embeddings).logits[0]
        assert ids[-1] == recipe.tokenizer.eos_token_id and start > 2
        for place in range(start, len(ids)):
            total -= logits[len(front) + place - 1].log_softmax(-1)[ids[place]].item()
            count += 1
    assert loss.item() == pytest.approx(total / count, rel=1e-4)
    assert IGNORED == -100


LANGUAGES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "opt": {"ffn_dim": 48, "max_position_embeddings": 64, "word_embed_proj_dim": 32},
    "phi": {"intermediate_size": 48}, "qwen2": {"intermediate_size": 48, "num_key_value_heads": 1},
    "llama": {"intermediate_size": 48}}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", LANGUAGES)
def test_texts_about_one_picture_share_a_row_and_see_nothing_of_each_other(kind: str, attention: str) -> None:
    """Loss and gradients are those of each text in a row of its own."""
    common = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2} if kind != "gpt2" else {}
    torch.manual_seed(0)
    language = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, vocab_size=40, bos_token_id=0, eos_token_id=0, pad_token_id=1, **common,
                             **LANGUAGES[kind]), attn_implementation=attention).eval()
    eyes = ViTModel(ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                              image_size=32, patch_size=16), add_pooling_layer=False)
    model = joined(eyes, language, "linear")
    model.begin_projector(language.get_input_embeddings().weight)
    patches = torch.randn(2, 4, 24)
    texts = [[torch.randint(2, 40, (length,)) for length in lengths] for lengths in ((5, 3, 9), (4,))]
    starts = [[2, 0, 4], [1]]
    rows = branched(model, patches, texts, starts)
    logits = model(inputs_embeds=rows.embeddings, attention_mask=rows.mask, position_ids=rows.positions,
                   use_cache=False).logits[:, -rows.wanted.shape[1]:]
    loss = answer_loss(logits, rows.wanted, 0.0)
    alone, count = torch.zeros(()), 0
    for one, about, begun in zip(patches, texts, starts, strict=True):
        for ids, start in zip(about, begun, strict=True):
            embeddings, mask = model.assemble([model.in_front(one[None])], [ids])
            told = model(inputs_embeds=embeddings, attention_mask=mask).logits[0, -len(ids) - 1:-1]
            alone = alone + nn.functional.cross_entropy(told[start:], ids[start:], reduction="sum")
            count += len(ids) - start
    assert loss.item() == pytest.approx(alone.item() / count, rel=1e-5)
    learns = [model.projector.linear.weight, model.separator, language.get_input_embeddings().weight]
    for ours, theirs in zip(torch.autograd.grad(loss, learns), torch.autograd.grad(alone / count, learns), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("asked", [True, False])
def test_a_picture_with_questions_of_its_own_is_never_mirrored(root: Path, tmp_path: Path, asked: bool) -> None:
    recipe = recipe_of(root, tmp_path / "run")
    image = root / "red0.png"
    example = Example(image=image, texts=("on the left", "red"), prompt="Where is it?" if asked else "")
    asking = Asking([example], recipe.tokenizer, "answer", 32, recipe.companions)
    views = np.stack([np.full((1, 4, 24), view, np.float16) for view in range(2)])  # as it is, mirrored
    dialogues = Dialogues(views, {image: 0}, asking)
    assert {float(dialogues[0]["patches"].max()) for _ in range(32)} == ({0.0} if asked else {0.0, 1.0})


def test_several_pictures_in_one_prompt_and_none(root: Path, tmp_path: Path) -> None:
    recipe = recipe_of(root, tmp_path / "run")
    family = ProjectorFamily.around(recipe.prepare()[0].eval(), recipe.tokenizer, recipe.to_pixels)
    settings = SETTINGS
    one, other = (Image.open(root / name) for name in ("red0.png", "blue0.png"))
    both = family._inputs([[one, other]], ["What colour is it?"])["inputs_embeds"]
    alone = family._inputs([[one]], ["What colour is it?"])["inputs_embeds"]
    assert both.shape[1] == alone.shape[1] + 17  # sixteen patches and a separator more
    assert list(family.stream_many([one, other], "What colour is it?", settings))
    with pytest.raises(NarratorError, match="Add a picture first"):
        list(family.stream(None, "What colour is it?", settings))


def test_an_adapter_that_lost_tensors_is_refused_when_it_is_loaded(root: Path, tmp_path: Path) -> None:
    """As `narrator describe` loads it: whole it is put on; a tensor that it lacks, or layers that it does not fit, are
    named in a sentence."""
    recipe = recipe_of(root, tmp_path / "run")
    made, home = recipe.prepare()[0], tmp_path / "checkpoints"
    write_manifest(home / "tiny-qa", recipe.save(made, home / "tiny-qa"))
    joined = get_peft_model(made.language, LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False,
                                                      fan_in_fan_out=True))
    joined.save_pretrained(home / "loud")
    write_manifest(home / "loud", dataclasses.replace(
        load_variants(home)["tiny-qa"], id="loud", title="Loud", source="../tiny-qa", adapter="."))
    weights = home / "loud" / "adapter_model.safetensors"
    whole, first = load_file(weights), "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
    with Engine(home, device="cpu").use("loud") as family:
        assert isinstance(family, ProjectorFamily)
        torch.testing.assert_close(family.model.language.state_dict()[first.replace("A.w", "A.default.w")],
                                   whole[first])
    for kept, told in (({name: whole[name] for name in whole if name != first}, "lacks 1 tensors, such as .*lora_A"),
                       ({f"{name}.other": tensor for name, tensor in whole.items()}, "does not belong on tiny-qa")):
        save_file(kept, weights, {"format": "pt"})
        with pytest.raises(NarratorError, match=told), Engine(home, device="cpu").use("loud"):
            pass


@pytest.mark.parametrize(("changes", "reason"), [
    ({"encoder": ""}, "name the encoder"), ({"base": ""}, "name the base"),
    ({"stages": [{"name": "s", "objective": "language"}]}, "knows caption and answer"),
    ({"base": "nobody/nothing"}, "neither a folder below"),
])
def test_what_does_not_fit_together_is_refused(root: Path, tmp_path: Path, changes: dict[str, Any],
                                               reason: str) -> None:
    with pytest.raises(NarratorError, match=reason):
        recipe_of(root, tmp_path / "run", **changes)


@pytest.mark.parametrize(("said", "wanted", "agree"), [
    ("On the beach.", "a beach", True), ("Black and white", "black and white", True), ("yes", "no", False),
    ("", "two", False), ("in", "in", True)])
def test_answers_agree_but_for_articles_and_punctuation(said: str, wanted: str, agree: bool) -> None:
    assert same(said, wanted) is agree


def test_a_preprocessor_as_clip_ships_it_is_read(root: Path, tmp_path: Path) -> None:
    """Its size is the shortest edge."""
    folder = tmp_path / "clip"
    shutil.copytree(root / "clip", folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"].get("height") is None
    recipe = recipe_of(root, tmp_path / "run", encoder=str(folder))
    assert recipe.to_pixels(Image.new("RGB", (50, 40))).shape == (3, 32, 32)
    assert recipe.to_pixels.mean.flatten().tolist() == pytest.approx([0.4815, 0.4578, 0.4082], abs=1e-3)
