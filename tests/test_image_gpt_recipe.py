"""How the reader of digits learns and is judged: its losses by hand, a training of seconds, and what is refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families.image_gpt import ImageGpt
from narrator.families.picture_reading import exchanged, forward, measure
from narrator.families.picture_tokens import ASK, CODEBOOK, PAD, Vocabulary
from narrator.records import NarratorError
from narrator.settings import GenerationSettings
from trainer.config import Data, TrainingConfig, load_config, parse_config
from trainer.recipes.codebook import kmeans
from trainer.recipes.image_gpt import ImageGptRecipe, augment
from trainer.recipes.picture_losses import losses

SIZE, CLASSES = 8, 3
SETTINGS: dict[str, Any] = {
    "name": "tiny-reader", "recipe": "image_gpt", "data": [{"path": "digits/train.npz"}],
    "dev": [{"path": "digits/dev.npz"}], "image_size": SIZE, "patch": 2, "clusters": 12, "width": 32, "layers": 2,
    "heads": 2, "dropout": 0.0, "class_first_share": 0.3, "precision": "fp32", "shift": 0, "turn": 0, "zoom": 0,
    "stages": [{"name": "read", "objective": "picture_tokens", "learning_rate": 3e-3, "label_smoothing": 0.0}]}


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of three classes that nobody takes for each other: a line across, a line down, a full square."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    images = np.zeros((count, SIZE, SIZE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        at, bright = int(random.integers(0, 4)) * 2, int(random.choice([130, 190, 250]))
        image[[slice(at, at + 2), slice(None), slice(1, 7)][label], [slice(None), slice(at, at + 2),
                                                                    slice(1, 7)][label]] = bright
    return images, labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "digits").mkdir()
    for split, count, seed in (("train", 200, 1), ("dev", 60, 2)):
        images, labels = drawn(count, seed)
        np.savez(root / "digits" / f"{split}.npz", images=images, labels=labels)
    return root


def config(**changes: Any) -> TrainingConfig:
    return parse_config({**SETTINGS, **changes}, "test")


def recipe_of(root_: Path, folder: Path, **changes: Any) -> ImageGptRecipe:
    return ImageGptRecipe(config(**changes), root_, folder, torch.device("cpu"))


@pytest.fixture(scope="module")
def recipe(data: Path, tmp_path_factory: pytest.TempPathFactory) -> ImageGptRecipe:
    return recipe_of(data, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def trained(recipe: ImageGptRecipe) -> GPT2LMHeadModel:
    """Two hundred steps: a few seconds."""
    torch.manual_seed(0)
    model, collate = recipe.prepare()
    stage = recipe.config.stages[0]
    rows = recipe.dataset(stage, model, quiet)
    optimizer = torch.optim.AdamW(recipe.parameter_groups(model, stage))
    model.train()
    for _ in range(200):
        batch = collate([rows[row] for row in torch.randint(0, len(rows), (32,)).tolist()])
        optimizer.zero_grad()
        recipe.loss(model, batch, stage).backward()
        optimizer.step()
    return model


def quiet(done: int, total: int) -> None:
    """Progress that nobody reads."""


def tiny_model(vocabulary: Vocabulary, patches: int) -> GPT2LMHeadModel:
    torch.manual_seed(3)
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary.size, n_positions=patches + 9, n_embd=16, n_layer=2,
                                      n_head=2, initializer_range=0.4, bos_token_id=2, eos_token_id=5)).eval()


def test_losses_by_hand_shifted_once_and_without_padding() -> None:
    vocabulary = Vocabulary(clusters=7)
    model = tiny_model(vocabulary, 4)
    tokens, labels = torch.tensor([[0, 6, 2, 2], [1, 1, 5, 3], [4, 0, 0, 6]]), torch.tensor([7, 0, 9])
    ids = vocabulary.sequence(tokens, labels)
    with torch.no_grad():
        picture, told = losses(model, vocabulary, ids)
        pieces, classes = [], []
        for row in ids:
            chances = model(input_ids=row[None]).logits[0].log_softmax(-1)  # at t: of what stands at t + 1
            pieces += [-float(chances[at, row[at + 1]]) for at in range(4)]
            asked = row.tolist().index(ASK)
            of_classes = model(input_ids=row[None, :asked + 1]).logits[0, -1, vocabulary.first_class:].log_softmax(-1)
            classes.append(-float(of_classes[row[asked + 1] - vocabulary.first_class]))
        assert float(picture) == pytest.approx(np.mean(pieces), rel=1e-5)
        assert float(told) == pytest.approx(np.mean(classes), rel=1e-5)
        padded = torch.cat([ids, torch.full((3, 3), PAD)], dim=1)
        again = losses(model, vocabulary, padded)
        assert [float(value) for value in again] == pytest.approx([float(picture), float(told)], rel=1e-5)
        none = losses(model, vocabulary, vocabulary.class_first(tokens, labels))[1]
        assert float(none) == 0  # a class that is given is not asked for


def test_the_reader_never_sees_the_class_and_the_drawer_does() -> None:
    vocabulary = Vocabulary(clusters=7)
    model = tiny_model(vocabulary, 4)
    tokens = torch.tensor([[0, 6, 2, 2]])
    with torch.no_grad():
        read = [measure(model, vocabulary, tokens, torch.tensor([label]))[0] for label in (0, 5)]
        np.testing.assert_allclose(read[0], read[1], rtol=1e-6)
        seen = [forward(model, vocabulary.class_first(tokens, torch.tensor([label])))[0][0, 2:6] for label in (0, 5)]
        assert all(not torch.allclose(one, other, atol=1e-3) for one, other in zip(*seen, strict=True))


def test_batches_hold_whole_sequences_in_both_orders(recipe: ImageGptRecipe, data: Path, tmp_path: Path) -> None:
    rows = recipe.dataset(recipe.config.stages[0], recipe.prepare()[0], quiet)
    torch.manual_seed(0)
    ids = recipe.collate([rows[row] for row in range(200)])["input_ids"]
    assert ids.shape == (200, 16 + 5)
    first = (ids[:, 0] == ASK).float().mean()
    assert 0.2 < float(first) < 0.4
    tail = ids[ids[:, 0] != ASK]
    assert bool((tail[:, -2] >= recipe.vocabulary.first_class).all())
    assert not bool((tail[:, :-2] >= recipe.vocabulary.first_class).any())
    assert recipe.size(recipe.config.stages[0]) == 200
    other = recipe_of(data, tmp_path, data=[{"path": "digits", "split": "dev", "repeat": 3}])
    stage = other.config.stages[0]
    assert (other.size(stage), len(other.dataset(stage, None, quiet))) == (180, 180)
    assert other.size(dataclasses.replace(stage, repeat=False)) == 60


def test_it_learns_and_shuffled_pictures_are_chance(recipe: ImageGptRecipe, trained: GPT2LMHeadModel) -> None:
    dev = {"digits/dev.npz": recipe.read_dev(Data(path="digits/dev.npz"), strict=True)}
    trained.train()
    scores = recipe.evaluate(trained, dev, beams=1, intervals=True, tell=quiet)
    assert trained.training
    found = scores["digits/dev.npz"]
    assert set(found) == {"accuracy", "top_3_accuracy", "class_loss", "calibration_error", "lm_loss", "perplexity",
                          "shuffled_accuracy", "macro_recall", "macro_f1"}
    assert found["accuracy"].value > 0.95 and found["class_loss"].value < 0.3
    assert found["lm_loss"].value < 1.0 < math.log(12)  # nats of a uniform guess
    assert found["perplexity"].value == pytest.approx(math.exp(found["lm_loss"].value))
    assert found["shuffled_accuracy"].low < 1 / 3 + 0.1 and found["shuffled_accuracy"].value < 0.6
    assert recipe.overall(scores, dev) == found["accuracy"].value
    assert all(score.low <= score.value <= score.high for score in found.values())


class Peeping(torch.nn.Module):
    """A model that reads the class from where it must not look: the token after."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        after = torch.cat([input_ids[:, 1:], input_ids[:, :1]], dim=1)
        logits = torch.nn.functional.one_hot(after, self.size).float() * 50
        return type("Output", (), {"logits": logits})


def test_the_leakage_test_finds_a_leak(recipe: ImageGptRecipe) -> None:
    tokens, labels = recipe.codebook.encode(recipe.pixels[:50].float() / 255), recipe.labels[:50]
    peeping: Any = Peeping(recipe.vocabulary.size)
    chances, _ = measure(peeping, recipe.vocabulary, exchanged(tokens), labels)
    assert chances.argmax(1).tolist() == labels.tolist()


def test_a_class_that_is_given_tells_of_the_picture(recipe: ImageGptRecipe, trained: GPT2LMHeadModel) -> None:
    trained.eval()
    tokens, labels = recipe.codebook.encode(recipe.pixels[:60].float() / 255), recipe.labels[:60]
    with torch.no_grad():
        right, *wrong = [float(losses(trained, recipe.vocabulary,
                                      recipe.vocabulary.class_first(tokens, (labels + by) % CLASSES))[0])
                         for by in range(CLASSES)]
    assert right < 0.6 * min(wrong)  # nats of a picture token; 0.16 against 0.42 when this was written
    family = ImageGpt.around(trained, recipe.codebook)
    pictures = [family.generate(label, GenerationSettings(temperature=0.7, seed=seed))
                for label in range(CLASSES) for seed in range(4)]
    read = [answers[0][0] for answers in family.classify(pictures)]
    assert sum(name == str(at // 4) for at, name in enumerate(read)) >= 7  # of 12; chance is 4


def test_saved_and_loaded_it_scores_the_same(recipe: ImageGptRecipe, trained: GPT2LMHeadModel, tmp_path: Path) -> None:
    variant = recipe.save(trained, tmp_path)
    assert (variant.family, variant.dtype, variant.inputs.image, variant.inputs.text) == (
        "image_gpt", "bfloat16", True, True)
    assert {path.name for path in tmp_path.iterdir()} >= {"config.json", "model.safetensors", CODEBOOK}
    family = recipe.saved(tmp_path, variant, torch.device("cpu"))
    assert torch.equal(family.codebook.centres, recipe.codebook.centres)
    dev = {"dev": recipe.read_dev(Data(path="digits", split="dev"), strict=True)}
    before = recipe.evaluate(trained, dev, beams=1, intervals=False, tell=quiet)["dev"]
    after = recipe.evaluate(family, dev, beams=1, intervals=False, tell=quiet)["dev"]
    assert after["accuracy"].value == pytest.approx(before["accuracy"].value, abs=0.02)
    assert after["lm_loss"].value == pytest.approx(before["lm_loss"].value, abs=0.02)  # bf16 on disk
    markdown = recipe.report(tmp_path)
    assert "| **2** |" in markdown and "confusion-1.png" in markdown
    with Image.open(tmp_path / "confusion-1.png") as picture:
        assert min(picture.size) > 300
    stage_model = recipe.load(tmp_path)
    assert stage_model.num_parameters() == variant.parameters


def test_a_resumed_run_keeps_its_codebook(recipe: ImageGptRecipe, data: Path) -> None:
    again = recipe_of(data, recipe.folder, seed=99)
    assert torch.equal(again.codebook.centres, recipe.codebook.centres)


REFUSED = [
    ({"positions": 20}, "has 20 positions and a picture with its class takes 21"),
    ({"patch": 3}, "Patches of 3 pixels do not divide pictures of 8"),
    ({"clusters": 4000}, "kinds of patches in the pictures and 'clusters' is 4000"),
    ({"gradient_share": 0.6, "position_share": 0.4}, "leave nothing for the pixels"),
    ({"image_size": 28}, "set 'image_size' to 8, not 28"),
    ({"data": [{"path": "digits/gone.npz"}]}, "There are no pictures with classes at"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED, ids=[reason[:30] for _, reason in REFUSED])
def test_what_does_not_fit_is_refused_before_training(data: Path, tmp_path: Path, changes: dict, reason: str) -> None:
    with pytest.raises(NarratorError, match=reason):
        recipe_of(data, tmp_path, **changes)


def test_kmeans_finds_blobs_and_serves_lonely_points() -> None:
    torch.manual_seed(1)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [30.0, 30.0]])
    points = torch.cat([centre + torch.randn(count, 2) * 0.1
                        for centre, count in zip(centres, (500, 500, 500, 1), strict=True)])
    once = torch.ones(len(points), 1)
    found = kmeans(points, once, 4, torch.Generator().manual_seed(0))
    assert torch.cdist(centres, found).min(1).values.max() < 0.5
    assert torch.equal(found, kmeans(points, once, 4, torch.Generator().manual_seed(0)))
    weighed = kmeans(torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [1.0]]), 1, torch.Generator().manual_seed(0))
    assert float(weighed) == 0.25


def test_augmented_pictures_move_and_keep_their_ink() -> None:
    torch.manual_seed(2)
    pixels = torch.zeros(64, 28, 28)
    pixels[:, 10:18, 10:18] = 1.0
    assert torch.allclose(augment(pixels, shift=0, turn=0, zoom=0), pixels, atol=1e-4)
    moved = augment(pixels, shift=2, turn=10, zoom=0.1)
    same = (moved - pixels).abs().amax((1, 2)) < 1e-3
    assert 4 <= int(same.sum()) <= 24  # a fifth is left as it is
    line = torch.arange(28.0)
    middle = (moved.sum(1) * line).sum(1) / moved.sum((1, 2))
    assert float((middle - 13.5).abs().max()) < 2.5 and float(middle.std()) > 0.5
    assert float((moved.sum((1, 2)) / 64 - 1).abs().max()) < 0.35


def test_the_presets_make_models_of_the_size_they_promise(root: Path) -> None:
    for name, low, high, patches in (("digit-reader", 3e6, 6e6, 196), ("digit-gpt-original", 11.1e6, 11.3e6, 784)):
        preset = load_config(root / "trainer" / "presets" / f"{name}.yaml")
        vocabulary = Vocabulary(clusters=preset.clusters)
        assert vocabulary.size == 516 and (preset.image_size // preset.patch) ** 2 == patches
        with torch.device("meta"):
            model = GPT2LMHeadModel(GPT2Config(
                vocab_size=vocabulary.size, n_positions=preset.positions or patches + 5, n_embd=preset.width,
                n_layer=preset.layers, n_head=preset.heads))
        assert low < model.num_parameters() < high
        assert model.config.n_positions >= patches + 5
