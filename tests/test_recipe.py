"""The captioner's losses, by hand and against transformers, on tiny random weights."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import GPT2Config, GPT2LMHeadModel

from narrator.families.encoder_decoder import PictureInput
from narrator.metrics.cider import CiderD
from narrator.records import Example
from trainer.recipes.captions import IGNORED, Words, augment, cache_features, collate
from trainer.recipes.encoder_decoder import EncoderDecoderRecipe, thinned
from trainer.recipes.self_critical import Reward, self_critical_loss
from trainer.recipes.words import encode, make_tokenizer

CAPTIONS = ["a red dog runs on grass", "the cat sits", "a man and a woman walk down a long street at night", "a bird"]


def tiny_decoder(vocabulary: int, **settings) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=vocabulary, n_positions=40, n_embd=32, n_layer=2, n_head=2, add_cross_attention=True, bos_token_id=1,
        eos_token_id=2, pad_token_id=0, attn_implementation="eager", embd_pdrop=0.0, resid_pdrop=0.0, **settings))


@pytest.fixture
def tokenizer():
    return make_tokenizer(CAPTIONS, min_count=1)


def items(tokenizer) -> list[dict]:
    """Two pictures: one with three captions, one with one."""
    encoded = [encode(tokenizer, caption.split(), longest=8) for caption in CAPTIONS]
    torch.manual_seed(1)
    return [{"index": 0, "input": torch.randn(4, 32), "captions": encoded[:3]},
            {"index": 1, "input": torch.randn(4, 32), "captions": encoded[3:]}]


def test_words_are_kept_by_frequency_and_cut_captions_have_no_end(tokenizer) -> None:
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3, 4]) == ["<pad>", "<s>", "</s>", "<unk>", "a"]
    assert "a" in make_tokenizer(CAPTIONS, min_count=2).get_vocab()
    assert "dog" not in make_tokenizer(CAPTIONS, min_count=2).get_vocab()
    assert encode(tokenizer, ["the", "cat"], 5)[-1] == tokenizer.eos_token_id
    assert len(encode(tokenizer, ["the", "cat", "sits"], 2)) == 2
    assert tokenizer.decode(encode(tokenizer, ["the", "cat"], 5), skip_special_tokens=True) == "the cat"


def test_collate_says_which_picture_a_caption_is_about(tokenizer) -> None:
    batch = collate(items(tokenizer))
    assert batch["picture"].tolist() == [0, 0, 0, 1]
    assert batch["input"].shape == (2, 4, 32)
    assert batch["labels"].shape == (4, 8)  # eight words of the longest were kept, the end was not
    learned = sum(len(caption) for item in items(tokenizer) for caption in item["captions"])
    assert (batch["labels"] != IGNORED).sum() == learned


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_grouped_loss_is_the_plain_loss(tokenizer, smoothing) -> None:
    decoder = tiny_decoder(len(tokenizer)).eval()
    batch = collate(items(tokenizer))
    recipe = EncoderDecoderRecipe.__new__(EncoderDecoderRecipe)  # the loss needs none of what a recipe reads
    loss = recipe._cross_entropy(decoder, batch["input"], batch, smoothing)

    labels = batch["labels"]
    given = torch.cat([torch.ones(4, 1, dtype=torch.long), labels[:, :-1].clamp(min=0)], dim=1)
    logits = decoder(input_ids=given, encoder_hidden_states=batch["input"][batch["picture"]]).logits
    plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED,
                                              label_smoothing=smoothing)
    torch.testing.assert_close(loss, plain)

    parameters = list(decoder.parameters())
    ours = torch.autograd.grad(loss, parameters, allow_unused=True)
    theirs = torch.autograd.grad(plain, parameters, allow_unused=True)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_rewards_are_cider_of_the_words_and_the_end(tokenizer) -> None:
    references = [CAPTIONS[:2], CAPTIONS[2:]]
    reward = Reward(references, tokenizer)
    whole = encode(tokenizer, CAPTIONS[0].split(), 20)
    broken = whole[:-1]  # the same words, but it never ends
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(whole), torch.tensor(broken)], batch_first=True)
    scores = reward([0, 0], tokens)
    cider = CiderD({row: [[*text.split(), "</s>"] for text in texts] for row, texts in enumerate(references)})
    assert scores[0] == pytest.approx(cider.score(0, [*CAPTIONS[0].split(), "</s>"]), rel=1e-5)
    assert scores[0] > scores[1] > 0


def test_self_critical_steps_raise_the_reward(tokenizer) -> None:
    """From random weights the mean reward of samples must rise clearly: the sign and the baseline are right."""
    decoder = tiny_decoder(len(tokenizer), initializer_range=0.1)
    reward = Reward([["a bird"], ["the cat sits"]], tokenizer)
    patches = torch.nn.functional.one_hot(torch.tensor([[0], [1]]), 32).float() * 5  # (2, 1, 32)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=3e-3)
    seen: list[float] = []
    kept = reward.__call__

    def watched(rows, tokens):
        scores = kept(rows, tokens)
        seen.append(float(scores.mean()))
        return scores

    torch.manual_seed(2)
    for _ in range(60):
        loss = self_critical_loss(decoder, patches, [0, 1], watched_reward(reward, watched), samples=16, longest=5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    first, last = sum(seen[:10]) / 10, sum(seen[-10:]) / 10
    assert last > 3 * first and last > 1.0, (first, last)


def watched_reward(reward: Reward, call):
    """A reward that also tells what it gave."""
    class Watched(Reward):
        def __init__(self) -> None:
            self.__dict__.update(reward.__dict__)

        def __call__(self, rows, tokens):
            return call(rows, tokens)

    return Watched()


def test_sampling_under_autocast_leaves_gradients(tokenizer) -> None:
    """Weights cast while sampling carry no gradient; they must not be used again when the loss is computed."""
    decoder = tiny_decoder(len(tokenizer)).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = self_critical_loss(decoder, torch.randn(2, 3, 32), [0, 1], Reward([["a bird"], ["the cat"]], tokenizer),
                                  samples=4, longest=5)
    loss.backward()
    assert decoder.training
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name


def test_words_stand_in_for_pictures(tokenizer) -> None:
    groups = [[encode(tokenizer, caption.split(), 8) for caption in CAPTIONS[:2]]]
    common = frozenset([0, 1, 2, 3, tokenizer.convert_tokens_to_ids("a")])
    shown = set()
    for _ in range(30):
        item = Words(groups, concepts=5, common=common)[0]
        assert item["input"].shape == (5,)
        shown |= set(tokenizer.convert_ids_to_tokens(item["input"].tolist()))
    assert shown == {"red", "dog", "runs", "on", "grass", "the", "cat", "sits"}


def test_augmented_pictures_stay_pictures(tmp_path: Path) -> None:
    random.seed(4)
    picture = Image.linear_gradient("L").resize((80, 50)).convert("RGB")
    sizes = {augment(picture).size for _ in range(20)}
    assert len(sizes) > 5
    assert all(0.7 * 80 < width <= 80 and 0.7 * 50 < height <= 50 for width, height in sizes)


def test_views_of_a_picture_are_kept_side_by_side(tmp_path: Path) -> None:
    """As it is, mirrored, and as many at random as asked for; the same file is read again."""
    Image.linear_gradient("L").rotate(90).convert("RGB").resize((32, 32)).save(tmp_path / "a.png")
    example = Example(image=tmp_path / "a.png", texts=("a",))
    to_pixels = PictureInput(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    told: list[tuple[int, int]] = []

    def kept(count: int, encode) -> np.ndarray:
        return cache_features([example], to_pixels, encode, tmp_path / "views.npy",
                              lambda done, total: told.append((done, total)), count=count)

    views = kept(4, lambda pixels: pixels.mean(2))  # (B, 3, W): brightness from left to right
    assert views.shape == (4, 1, 3, 8) and told == [(1, 1)]
    np.testing.assert_allclose(views[1, 0], views[0, 0][:, ::-1], atol=0.02)
    assert np.ptp(views[0, 0]) > 1 and not np.allclose(views[2], views[3], atol=0.02)
    assert np.array_equal(kept(4, None), views)


def test_patches_are_left_out_at_random_for_a_step() -> None:
    patches = torch.arange(2 * 50 * 3.0).view(2, 50, 3)
    thin = thinned(patches, 0.3)
    assert thin.shape == (2, 35, 3)
    rows = (thin[0, :, 0] / 3).long()
    assert rows.unique().numel() == 35 and torch.equal(thin, patches[:, rows])  # the same of both pictures
    assert thinned(patches, 0.0) is patches and thinned(patches[:, :1], 0.9).shape[1] == 1
