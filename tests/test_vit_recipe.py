"""ViT + GPT-2: begun at random, taught by a captioner, or begun from language models; on tiny weights and pictures."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from trainer.config import Stage, TrainingConfig, parse_config
from trainer.recipes.distill import Teacher, distillation_loss
from trainer.recipes.encoder_decoder import EncoderDecoderRecipe
from trainer.recipes.encoders import vision_part

BASE: dict[str, Any] = {
    "name": "tiny-vit", "data": [{"path": "captions.jsonl", "split": "train"}],
    "dev": [{"path": "captions.jsonl", "split": "dev"}], "vision": "vit", "vision_width": 64, "vision_layers": 1,
    "width": 32, "layers": 2, "heads": 2, "min_count": 1, "image_size": 32, "vision_patch": 8, "precision": "fp32",
    "stages": [{"name": "finetune", "train_encoder": True, "learning_rate": 3e-3}]}


def recipe_of(root: Path, folder: Path, **changes: Any) -> EncoderDecoderRecipe:
    folder.mkdir(parents=True, exist_ok=True)
    config: TrainingConfig = parse_config({**BASE, **changes}, "test")
    torch.manual_seed(0)
    return EncoderDecoderRecipe(config, root, folder, torch.device("cpu"))


def batch_of(recipe: EncoderDecoderRecipe, model: Any, stage: Stage) -> dict[str, torch.Tensor]:
    dataset = recipe.dataset(stage, model, lambda done, total: None)
    return recipe.collate([dataset[index] for index in range(4)])


def learn(recipe: EncoderDecoderRecipe, model: Any, batch: dict[str, torch.Tensor], *, steps: int, rate: float
          ) -> list[float]:
    """The losses of so many steps of the recipe's first stage on one batch."""
    stage = recipe.config.stages[0]
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model, stage), lr=rate)
    losses = []
    for _ in range(steps):
        loss = recipe.loss(model, batch, stage)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_vit_of_other_width_is_trained_saved_and_narrates_the_same(tiny: Path, tmp_path: Path) -> None:
    recipe = recipe_of(tiny, tmp_path / "run")
    model, stage = recipe.prepare()[0], recipe.config.stages[0]
    assert model.encoder.config.model_type == "vit" and model.enc_to_dec_proj.in_features == 64
    rates = {group["lr"] for group in recipe.parameter_groups(model, stage)}
    assert rates == {3e-3, 1e-4}  # the decoder's, the encoder's
    losses = learn(recipe, model, batch_of(recipe, model, stage), steps=12, rate=3e-3)
    assert losses[-1] < losses[0] - 0.5, losses
    assert all(parameter.grad is not None for parameter in model.encoder.layers.parameters())

    variant = recipe.save(model.eval(), tmp_path / "variant")
    assert recipe.load(tmp_path / "variant").encoder.pooler is None
    assert vision_part(tmp_path / "variant").layers[0].attention.q_proj.weight.shape == (64, 64)
    family = recipe.saved(tmp_path / "variant", variant, torch.device("cpu"))
    scores = recipe.evaluate(family, {"dev": recipe.read_dev(recipe.config.dev[0], strict=True)}, beams=2,
                             intervals=False, tell=lambda done, total: None)
    assert recipe.overall(scores, {"dev": [None] * 3}) == scores["dev"]["cider_d"].value  # type: ignore[list-item]


def test_a_frozen_vit_gives_the_decoder_what_a_whole_pass_gives(tiny: Path, tmp_path: Path) -> None:
    """Cached features, projected, are the patches of a pass through the whole encoder."""
    recipe = recipe_of(tiny, tmp_path / "run", stages=[{"name": "frozen"}])
    model, frozen = recipe.prepare()[0].eval(), recipe.config.stages[0]
    views = recipe.dataset(frozen, model, lambda done, total: None).views
    assert views.shape == (2, 9, 17, 64)  # picture and mirror image, pictures, patches and the class token, channels
    groups = recipe.parameter_groups(model, frozen)
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    assert sum(len(group["params"]) for group in groups) == sum(
        parameter.requires_grad for parameter in model.parameters())
    whole = recipe_of(tiny, tmp_path / "other")
    pixels = batch_of(whole, model, whole.config.stages[0])["input"]
    with torch.no_grad():
        direct = model.enc_to_dec_proj(model.encoder(pixel_values=pixels).last_hidden_state)
        cached = recipe._patches(model, recipe._features(model, pixels), frozen)
    torch.testing.assert_close(cached, direct)


def test_a_student_comes_to_see_what_its_teacher_sees(tiny: Path, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    master = recipe_of(tiny, tmp_path / "teacher", layers=3, vision_patch=32, stages=[{"name": "frozen"}],
                       image_size=64)
    folder = tmp_path / "checkpoints" / "tiny-teacher"
    variant = master.save(master.prepare()[0].eval(), folder)
    manifest = f"id: tiny-teacher\ntitle: T\nfamily: {variant.family}\nsource: .\ninputs: {{image: true}}\n"
    (folder / "variant.yaml").write_text(manifest, encoding="utf-8")
    monkeypatch.setenv("NARRATOR_CHECKPOINTS", str(tmp_path / "checkpoints"))

    recipe = recipe_of(tiny, tmp_path / "student", teacher="tiny-teacher", image_size=64, vision_patch=16,
                       stages=[{"name": "distill", "objective": "distill", "train_encoder": True,
                                 "encoder_learning_rate": 3e-3}])
    model, stage = recipe.prepare()[0], recipe.config.stages[0]
    teacher = Teacher("tiny-teacher", torch.device("cpu"))
    lent, own = model.decoder.state_dict(), teacher.model.decoder.state_dict()
    for student_layer, teacher_layer in ((0, 0), (1, 2)):  # of three layers the first and the last
        name = "transformer.h.{}.mlp.c_fc.weight"
        torch.testing.assert_close(lent[name.format(student_layer)], own[name.format(teacher_layer)])
    assert recipe.tokenizer.get_vocab() == master.tokenizer.get_vocab()

    losses = learn(recipe, model, batch_of(recipe, model, stage), steps=25, rate=3e-3)
    assert losses[-1] < 0.6 * losses[0], losses


def test_the_distance_of_patches_is_averaged_over_the_finer_square() -> None:
    """By hand: a 4 x 4 square and a class token of the student against 2 x 2 of the teacher."""
    teacher = torch.randn(2, 4, 8)
    fine = teacher.view(2, 2, 2, 8).repeat_interleave(2, 1).repeat_interleave(2, 2).reshape(2, 16, 8)
    student = torch.cat([torch.full((2, 1, 8), 9.0), fine], dim=1)
    assert distillation_loss(student, teacher).item() == pytest.approx(0.0, abs=1e-6)
    assert distillation_loss(-student, teacher).item() > 2.0  # 1 - cosine is 2, and a distance besides


def test_a_language_model_becomes_the_decoder_and_learns_its_end(tiny: Path, tmp_path: Path) -> None:
    """As the published ViT + GPT-2: pieces of words, padding that is the end token, and an end that is learned."""
    words = recipe_of(tiny, tmp_path / "words").tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer, bos_token="</s>", eos_token="</s>",
                                        unk_token="</s>")
    end = tokenizer.eos_token_id
    GPT2LMHeadModel(GPT2Config(vocab_size=len(words), n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=end,
                               eos_token_id=end)).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    recipe = recipe_of(tiny, tmp_path / "run", decoder=str(tmp_path / "gpt2"))
    model, stage = recipe.prepare()[0], recipe.config.stages[0]
    assert model.decoder.config.add_cross_attention and model.decoder.config.pad_token_id == end
    labels = batch_of(recipe, model, stage)["labels"]
    assert all(row[row != -100][-1] == end for row in labels)
    learn(recipe, model, batch_of(recipe, model, stage), steps=60, rate=1e-2)
    variant = recipe.save(model.eval(), tmp_path / "variant")
    family = recipe.saved(tmp_path / "variant", variant, torch.device("cpu"))
    picture = recipe.examples[0].image
    assert picture is not None
    said = family.batch([Image.open(picture)], [""], GenerationSettings(num_beams=1, max_new_tokens=30))[0]
    assert 3 <= len(said) <= 8, said  # it ends by itself, as its captions do


@pytest.mark.parametrize(("changes", "reason"), [
    ({"stages": [{"name": "see", "objective": "distill", "train_encoder": True}]}, "name one as 'teacher'"),
    ({"decoder": "gpt2", "stages": [{"name": "s", "objective": "self_critical"}]}, "works on whole words"),
    ({"teacher": "nobody"}, "There is no variant 'nobody'"),
    ({"encoder": "nobody/nothing"}, "neither a folder below"),
    ({"base": "nobody/nothing"}, "neither a folder below"),
    ({"base": "checkpoints/nobody"}, "There is no variant checkpoints/nobody"),
    ({"base": "checkpoints/nobody", "teacher": "nobody"}, "leave 'teacher' empty, or 'base'"),
])
def test_what_does_not_fit_together_is_refused(tiny: Path, tmp_path: Path, changes: dict[str, Any],
                                               reason: str) -> None:
    with pytest.raises(NarratorError, match=reason):
        recipe_of(tiny, tmp_path / "run", **changes).prepare()
