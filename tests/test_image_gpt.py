"""The family of discrete pictures: its codebook and sequence, its modes, what it refuses, on tiny random weights."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.catalog import find_variant
from narrator.families.image_gpt import ImageGpt, percent
from narrator.families.picture_tokens import (
    CODEBOOK,
    Codebook,
    Vocabulary,
    patch_features,
    positions_of,
    to_picture,
    to_pixels,
)
from narrator.records import Inputs, NarratorError, Variant
from narrator.settings import GenerationSettings
from narrator.weights import bytes_needed, check_checkpoint
from trainer.recipes.codebook import fit_codebook

SIZE, PATCH, CLUSTERS, COUNT = 8, 2, 12, 16
GREEDY = GenerationSettings()
LIVELY = GenerationSettings(temperature=1.0, seed=3)
NAMES = ["<PAD>", "<UNK>", "<IMG>", "</IMG>", "<CLS>", "<EOS>"]


def pictures(count: int = 40) -> torch.Tensor:
    """(count, 8, 8) of strokes in random places."""
    generator = torch.Generator().manual_seed(0)
    found = torch.zeros(count, SIZE, SIZE)
    for picture in found:
        row, column = torch.randint(1, SIZE - 1, (2,), generator=generator).tolist()
        picture[row, 1:-1] = 1.0
        picture[1:-1, column] = torch.rand(SIZE - 2, generator=generator)
    return found


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return fit_codebook(pictures(), patch=PATCH, clusters=CLUSTERS, shares=(0.25, 0.01), seed=1)


@pytest.fixture(scope="module")
def family(codebook: Codebook) -> ImageGpt:
    torch.manual_seed(5)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=CLUSTERS + 16, n_positions=COUNT + 5, n_embd=16, n_layer=2, n_head=2,
                                       bos_token_id=2, eos_token_id=5, pad_token_id=0, initializer_range=0.4))
    return ImageGpt.around(model.eval(), codebook)


def shown(count: int) -> list[Image.Image]:
    return [to_picture(pixels) for pixels in pictures(count)]


def save(family: ImageGpt, folder: Path) -> Variant:
    family.model.save_pretrained(folder)
    family.codebook.save(folder)
    return Variant(id="tiny", title="Tiny", family="image_gpt", source=str(folder), dtype="float32",
                   inputs=Inputs(image=True, text=True))


def text_of(pieces: list) -> str:
    return "".join(piece.text for piece in pieces)


def test_the_vocabulary_of_500_clusters_has_516_tokens() -> None:
    names = Vocabulary(clusters=500).names()
    assert len(names) == 516 == Vocabulary(clusters=500).size
    assert names[:6] == NAMES and names[6] == "<Z_000>" and names[505] == "<Z_499>"
    assert names[506:] == [f"<CLS_{number}>" for number in range(10)]


def test_sequences_have_the_class_at_the_tail_or_before_the_picture() -> None:
    vocabulary = Vocabulary(clusters=3)
    tokens, labels = torch.tensor([[0, 2], [1, 1]]), torch.tensor([7, 0])
    said = [[vocabulary.names()[token] for token in row] for row in vocabulary.sequence(tokens, labels).tolist()]
    assert said[0] == ["<IMG>", "<Z_000>", "<Z_002>", "</IMG>", "<CLS>", "<CLS_7>", "<EOS>"]
    first = [vocabulary.names()[token] for token in vocabulary.class_first(tokens, labels)[1].tolist()]
    assert first == ["<CLS>", "<CLS_0>", "<IMG>", "<Z_001>", "<Z_001>", "</IMG>", "<EOS>"]
    for ids in (vocabulary.question(tokens), vocabulary.question(tokens.flip(0))):
        assert not bool((ids >= vocabulary.first_class).any())  # what the classifier reads never holds a class


def test_a_token_has_the_same_place_in_both_orders() -> None:
    vocabulary = Vocabulary(clusters=3)
    tokens, labels = torch.tensor([[0, 2]]), torch.tensor([7])
    tail, first = vocabulary.sequence(tokens, labels)[:, :-1], vocabulary.class_first(tokens, labels)[:, :-1]
    both = torch.cat([tail, first])
    places = positions_of(both, 2).tolist()
    assert places[0] == [0, 1, 2, 3, 4, 5]
    assert dict(zip(both[0].tolist(), places[0], strict=True)) == dict(zip(both[1].tolist(), places[1], strict=True))


def test_features_are_intensities_gradients_and_place() -> None:
    pixels = torch.arange(16.0).view(1, 4, 4) / 16
    features = patch_features(pixels, 2)
    assert features.shape == (1, 4, 14)
    assert features[0, 1, :4].tolist() == [2 / 16, 3 / 16, 6 / 16, 7 / 16]
    assert features[0, 3, 4].item() == pytest.approx(1 / 16)  # to the right, inside
    assert features[0, 3, 8].item() == pytest.approx(4 / 16)  # down, inside
    assert features[0, 3, 9].item() == pytest.approx(4 / 16) and features[0, 3, 10].item() == pytest.approx(2 / 16)
    assert features[0, :, 12:].tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert patch_features(pixels, 1).shape == (1, 16, 5)


def test_tokens_round_trip(codebook: Codebook) -> None:
    """Pictures become tokens and pictures again, and these nearly the same tokens."""
    pixels = pictures()
    tokens = codebook.encode(pixels)
    assert tokens.shape == (40, COUNT) and 0 <= int(tokens.min()) <= int(tokens.max()) < CLUSTERS
    again = codebook.decode(tokens)
    assert float((again - pixels).square().mean()) < 0.3 * float(pixels.var())
    assert codebook.decode(tokens[:, :8])[:, 4:].abs().max() == 0  # the lower half is not there yet
    assert torch.equal(codebook.decode(tokens[:, :8])[:, :4], again[:, :4])
    exact = fit_codebook(pixels[:2], patch=4, clusters=8, shares=(0.25, 0.1), seed=0)  # a centre for each patch
    torch.testing.assert_close(exact.decode(exact.encode(pixels[:2])), pixels[:2], atol=1e-4, rtol=0)


def test_patches_are_found_exactly_whatever_the_model_computes_in() -> None:
    fine = torch.rand(20, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    codebook = fit_codebook(fine, patch=PATCH, clusters=200, shares=(0.25, 0.01), seed=1)
    tokens = codebook.encode(fine)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(codebook.encode(fine), tokens)


def test_ink_on_paper_of_any_size_is_read_as_the_training_pictures_are() -> None:
    digit = np.zeros((28, 28), dtype=np.uint8)
    digit[4:24, 12:16] = 255
    expected = to_pixels(Image.fromarray(digit), 28)
    assert torch.equal(expected, torch.from_numpy(digit).float() / 255)
    assert torch.equal(to_pixels(Image.fromarray(255 - digit).convert("RGB"), 28), expected)
    paper = np.full((300, 500), 240, dtype=np.uint8)
    paper[40:240, 60:100] = 15
    found = to_pixels(Image.fromarray(paper), 28)
    assert float((found - expected).abs().mean()) < 0.01
    assert to_pixels(Image.new("L", (90, 30), 255), 28).abs().max() == 0  # a sheet with nothing on it


def test_classify_says_label_probability_and_runners_up(family: ImageGpt) -> None:
    image = shown(1)[0]
    ranked = family.classify([image], top_k=10)[0]
    assert sorted(name for name, _ in ranked) == [str(number) for number in range(10)]
    assert sum(chance for _, chance in ranked) == pytest.approx(1.0)
    assert [chance for _, chance in ranked] == sorted((chance for _, chance in ranked), reverse=True)
    pieces = list(family.stream(image, "", GREEDY))
    (best, first), (second, other), (third, last) = ranked[:3]
    assert text_of(pieces) == (f"The digit {best} ({percent(first)}). Next: {second} ({percent(other)}), "
                               f"{third} ({percent(last)}).")
    assert pieces[0].probability == pytest.approx(first) and sum(piece.tokens for piece in pieces) == 1
    ids = family.vocabulary.question(family.codebook.encode(to_pixels(image, SIZE)[None]))
    logits = family.model(input_ids=ids).logits.detach()[0, -1, family.vocabulary.first_class:]  # as any GPT-2 is run
    assert float(logits.softmax(-1)[int(best)]) == pytest.approx(first, rel=1e-5)


def test_continue_keeps_what_is_shown_and_draws_the_rest(family: ImageGpt) -> None:
    image = shown(2)[1]
    whole = family.complete(image, 0.5, LIVELY)
    assert (whole.mode, whole.size) == ("L", (SIZE, SIZE))
    steps = list(family.completing(image, 0.5, LIVELY))
    assert len(steps) == 1 + COUNT // 2 and steps[-1] == whole
    assert all(np.array_equal(np.asarray(step)[:4], np.asarray(whole)[:4]) for step in steps)
    assert np.asarray(steps[0])[4:].max() == 0 and np.asarray(whole)[4:].max() > 0
    assert family.complete(image, 1.0) == to_picture(family.codebook.decode(family._tokens([image]))[0])


def test_a_drawn_picture_is_what_the_model_alone_would_draw(family: ImageGpt) -> None:
    """Greedy steps with a cache = the whole sequence read anew for each."""
    image = shown(3)[2]
    given, tokens = family._half(image, 0.5)
    told = list(family._steps(given, tokens, GREEDY))
    first_class = family.vocabulary.first_class
    for token, probability in told:
        logits = family.model(input_ids=given).logits.detach()[0, -1]
        expected = int(logits[6:first_class].argmax())
        assert int(token) == expected
        assert float(probability) == pytest.approx(float(logits.softmax(-1)[expected + 6]), rel=1e-4)
        given = torch.cat([given, token + 6], dim=1)


def test_a_picture_is_drawn_for_its_class(family: ImageGpt) -> None:
    same = family.generate(7, LIVELY)
    assert (same.mode, same.size) == ("L", (SIZE, SIZE)) and same == family.generate(7, LIVELY)
    drawn = {family.generate(label, LIVELY).tobytes() for label in range(10)}
    assert len(drawn) > 1  # the class decides which candidate is kept
    by_seed = {family.generate(7, GenerationSettings(seed=seed)).tobytes() for seed in range(4)}
    assert len(by_seed) > 1  # temperature 0 counts as 1
    with pytest.raises(NarratorError, match="there is no 11"):
        family.generate(11)


def test_the_bundled_reader_draws_what_it_is_asked_for(root: Path) -> None:
    """And what it draws has the ink of a digit. Drawn without being read, one in ten would show the class."""
    reader = ImageGpt(find_variant("digit-reader", root / "checkpoints"), "cpu")
    drawn = reader.generate(3, GenerationSettings(seed=3))
    assert reader.classify([drawn], top_k=1)[0][0][0] == "3"
    assert 10 < np.asarray(drawn).mean() < 90


def test_next_probabilities(family: ImageGpt) -> None:
    image = shown(1)[0]
    found = family.next_probabilities(image, 5, top_k=3)
    assert len(found) == 3 and all(name.startswith("<Z_") and 0 < chance < 1 for name, chance in found)
    tokens = family._tokens([image])[:, :5]
    chances = family.model(input_ids=family._begun(tokens)).logits.detach()[0, -1].softmax(-1)
    assert float(chances[6 + int(found[0][0][3:-1])]) == pytest.approx(found[0][1], rel=1e-5)
    for count in (-1, COUNT):
        with pytest.raises(NarratorError, match="Show 0 to 15 of the picture's patches"):
            family.next_probabilities(image, count)
    assert text_of(list(family.stream(image, "next", GREEDY))).startswith("After 8 of 16 patches the next is Z_0")


@pytest.mark.parametrize("prompt", ["draw", "generate", "generate 12", "generate seven", "classify this"])
def test_an_unknown_prompt_names_the_modes(family: ImageGpt, prompt: str) -> None:
    with pytest.raises(NarratorError, match="classify, continue, next, or generate and one of 0, 1, 2"):
        list(family.stream(shown(1)[0], prompt, GREEDY))


def test_a_missing_picture(family: ImageGpt) -> None:
    for prompt in ("", "continue", "next"):
        with pytest.raises(NarratorError, match="Add a picture first"):
            list(family.stream(None, prompt, GREEDY))
    assert text_of(list(family.stream(None, "Generate 3", LIVELY))).startswith("A 3, drawn. It reads as the digit ")


def test_it_stops_within_a_step(family: ImageGpt) -> None:
    calls: list[int] = []
    hook = family.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        with contextlib.closing(family.stream(shown(1)[0], "continue", LIVELY)) as stream:  # type: ignore[type-var]
            piece = next(stream)
        assert (piece.text, piece.tokens) == ("", 1) and 0 < (piece.probability or 0) <= 1
        assert len(calls) == 1
        assert len(list(family.stream(shown(1)[0], "continue", LIVELY))) == COUNT // 2 + 1  # and the sentence
    finally:
        hook.remove()


@pytest.mark.parametrize("settings", [GREEDY, LIVELY], ids=["greedy", "sampled"])
def test_a_batch_is_one_by_one(family: ImageGpt, settings: GenerationSettings) -> None:
    images = shown(5)
    prompts = ["", "continue", "classify", "generate 2", "next"]
    together = family.batch(images, prompts, settings)
    alone = [list(family.stream(image, prompt, settings)) for image, prompt in zip(images, prompts, strict=True)]
    assert [text_of(pieces) for pieces in together] == [text_of(pieces) for pieces in alone]
    for one, other in zip(together, alone, strict=True):
        assert [piece.tokens for piece in one] == [piece.tokens for piece in other]
        told = [[piece.probability for piece in pieces if piece.tokens and piece.probability]
                for pieces in (one, other)]
        assert told[0] == pytest.approx(told[1], rel=1e-4)
    assert family.batch([], [], settings) == []


def test_saved_and_loaded_it_answers_the_same(family: ImageGpt, tmp_path: Path) -> None:
    variant = save(family, tmp_path)
    check_checkpoint(variant)
    weights = sum(parameter.numel() for parameter in family.model.parameters())
    assert weights * 4 <= bytes_needed(variant)[0] < weights * 4 * 1.2  # the codebook is counted too
    again = ImageGpt(variant, "cpu")
    images = shown(4)
    assert again.classify(images) == family.classify(images)
    assert again.complete(images[0], 0.5, LIVELY) == family.complete(images[0], 0.5, LIVELY)


def test_what_does_not_fit_together_is_refused(family: ImageGpt, tmp_path: Path) -> None:
    variant = save(family, tmp_path)
    short = GPT2LMHeadModel(GPT2Config(vocab_size=CLUSTERS + 16, n_positions=COUNT + 4, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(NarratorError, match="has 20 positions and a picture with its class takes 21"):
        ImageGpt.around(short, family.codebook)
    fewer = Codebook(family.codebook.centres[:5], family.codebook.mean, family.codebook.scale, size=SIZE, patch=PATCH)
    fewer.save(tmp_path)
    with pytest.raises(ValueError, match="knows 28 tokens, its codebook has 21"):
        ImageGpt(variant, "cpu")
    (tmp_path / CODEBOOK).write_bytes((tmp_path / CODEBOOK).read_bytes()[:-7])
    with pytest.raises(NarratorError, match=r"codebook.safetensors are cut short"):
        check_checkpoint(variant)


def test_percent() -> None:
    said = [percent(chance) for chance in (0.982, 0.997, 0.99951, 1.0, 0.0051, 0.00001, 0.5, 0.0099)]
    assert said == ["98 %", "99.7 %", "over 99.9 %", "over 99.9 %", "0.5 %", "under 0.1 %", "50 %", "1 %"]
