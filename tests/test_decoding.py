"""Our decoding loop against transformers' own, on tiny random weights of the real architectures."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_captioner import save_tiny_captioner

from narrator.records import Inputs, Piece, Variant
from narrator.settings import GenerationSettings

GREEDY = GenerationSettings(num_beams=1, max_new_tokens=9)
EVERYTHING = {
    "greedy": GREEDY,
    "greedy, n-grams may repeat": GenerationSettings(num_beams=1, max_new_tokens=9, no_repeat_ngram_size=0),
    "penalty": GenerationSettings(num_beams=1, max_new_tokens=9, repetition_penalty=1.7),
    "sampling": GenerationSettings(num_beams=1, max_new_tokens=9, temperature=1.3, seed=5),
    "top-k, top-p": GenerationSettings(num_beams=1, max_new_tokens=9, temperature=1.0, top_k=6, top_p=0.8, seed=5),
    "beams": GenerationSettings(num_beams=3, max_new_tokens=9),
}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """The family over a tiny random captioner."""
    from narrator.families.encoder_decoder import EncoderDecoder

    folder = tmp_path_factory.mktemp("tiny") / "captioner"
    save_tiny_captioner(folder)
    variant = Variant(id="tiny-captioner", title="Tiny", family="encoder_decoder", source=str(folder),
                      inputs=Inputs(image=True, text=False))
    family = EncoderDecoder(variant, "cpu")
    yield family
    family.close()


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Ten different pictures."""
    noise = np.random.default_rng(3)
    return [Image.fromarray(noise.integers(0, 256, (20 + 7 * index, 40, 3), dtype=np.uint8)) for index in range(10)]


def said(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_greedy_says_what_generate_says(family, pictures) -> None:
    import torch

    settings = EVERYTHING["greedy, n-grams may repeat"]
    for picture in pictures:
        pixels = family.pictures(picture)[None]
        tokens = family.model.generate(
            pixel_values=pixels, num_beams=1, do_sample=False, max_new_tokens=settings.max_new_tokens, max_length=None,
            suppress_tokens=family.never(), decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
        with torch.inference_mode():
            theirs = family.tokenizer.decode(tokens[0], skip_special_tokens=True)
        assert said(list(family.stream(picture, "", settings))) == theirs


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_batch_says_the_same_as_one_by_one(family, pictures, name) -> None:
    settings = EVERYTHING[name]
    together = family.batch(pictures, [""] * len(pictures), settings)
    for picture, pieces in zip(pictures, together, strict=True):
        alone = [piece for piece in family.stream(picture, "", settings) if piece.tokens]
        assert said(pieces) == said(alone)
        chances = [piece.probability for piece in alone]
        assert [piece.probability for piece in pieces] == pytest.approx(chances, abs=1e-5)
    assert len({said(pieces) for pieces in together}) > 1, "all pictures are described alike: this proves little"


def test_probabilities_are_those_of_the_model(family, pictures) -> None:
    import torch

    pieces = list(family.stream(pictures[0], "", GREEDY))
    tokens = [family.tokenizer.convert_tokens_to_ids(piece.text.strip()) for piece in pieces]
    with torch.inference_mode():
        logits = family.model(pixel_values=family.pictures(pictures[0])[None],
                              decoder_input_ids=torch.tensor([[1, *tokens[:-1]]])).logits[0]
    expected = logits.softmax(-1)[range(len(tokens)), tokens]
    assert [piece.probability for piece in pieces] == pytest.approx(expected.tolist(), abs=1e-5)


def test_seeds_decide_what_is_sampled(family, pictures) -> None:
    def text(seed: int) -> str:
        settings = GenerationSettings(num_beams=1, temperature=1.5, seed=seed, max_new_tokens=9)
        return said(list(family.stream(pictures[0], "", settings)))

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(8)}) > 1


def test_lengths_and_repetitions_are_limited(family, pictures) -> None:
    for picture, limit in itertools.product(pictures[:4], (1, 3, 7)):
        settings = GenerationSettings(num_beams=1, max_new_tokens=limit, no_repeat_ngram_size=2)
        words = said(list(family.stream(picture, "", settings))).split()
        assert 0 < len(words) <= limit
        pairs = list(itertools.pairwise(words))
        assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("beams", [1, 4])
def test_leaving_ends_the_generation_within_a_step(family, pictures, beams) -> None:
    settings = GenerationSettings(num_beams=beams, max_new_tokens=60, no_repeat_ngram_size=0)
    stream = family.stream(pictures[0], "", settings)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "beam-search"]


def test_a_missing_picture_is_told(family) -> None:
    from narrator.records import NarratorError

    with pytest.raises(NarratorError, match="picture"):
        list(family.stream(None, "", GREEDY))
    assert family.batch([], [], GREEDY) == []


def test_folding_the_normalisation_changes_nothing(tmp_path: Path) -> None:
    import torch
    from transformers import MobileNetV2Config, MobileNetV2Model

    from narrator.families.mobilenet_patches import MobileNetPatches

    torch.manual_seed(1)
    original = MobileNetV2Model(MobileNetV2Config(depth_multiplier=0.25, image_size=64), add_pooling_layer=False).eval()
    for name, buffer in original.named_buffers():  # as after training: means and variances of their own
        if "running" in name:
            buffer.copy_(torch.rand_like(buffer) * 2 + 0.2)
    original.save_pretrained(tmp_path)
    ours = MobileNetPatches.from_mobilenet(tmp_path, hidden_size=24)
    pixels = torch.randn(2, 3, 64, 64)
    expected = original(pixels).last_hidden_state  # (B, channels, 2, 2)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(ours.features(pixels), expected.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-3)
    assert ours(pixel_values=pixels).last_hidden_state.shape == (2, 4, 24)
    assert not [module for module in ours.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_a_mirrored_encoder_gives_the_patches_of_both_and_the_mirror_image_the_same(tmp_path: Path) -> None:
    import torch

    from narrator.families.mobilenet_patches import MobileNetPatches, MobileNetPatchesConfig

    torch.manual_seed(1)
    encoder = MobileNetPatches(MobileNetPatchesConfig(depth_multiplier=0.25, image_size=64, hidden_size=24)).eval()
    for weights in (weights for weights in encoder.trunk.parameters() if weights.dim() > 1):
        torch.nn.init.kaiming_normal_(weights)  # or next to nothing would come through all layers
    pixels = torch.randn(2, 3, 64, 64)
    one, other = (encoder(pixel_values=shown).last_hidden_state for shown in (pixels, pixels.flip(-1)))
    assert not torch.allclose(one, other, atol=1e-3)
    encoder.config.mirrored = True
    encoder.save_pretrained(tmp_path)
    both = MobileNetPatches.from_pretrained(tmp_path).eval()
    for shown, expected in ((pixels, [one, other]), (pixels.flip(-1), [other, one])):
        torch.testing.assert_close(both(pixel_values=shown).last_hidden_state, torch.cat(expected, dim=1),
                                   atol=1e-4, rtol=1e-3)
